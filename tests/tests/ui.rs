//! `#[cluster::main]` as its users meet it: what compiles, without a warning, and how the rest is refused.
//!
//! `TRYBUILD=overwrite cargo test -p cluster-tests --test ui` writes the expected output anew.

#[test]
fn attribute() {
    if cluster_tests::by_exec() {
        return println!("skipped: nothing is started here, by exec or otherwise");
    }
    // In one go: apart, the second would build every dependency once more, for checking only.
    let cases = trybuild::TestCases::new();
    cases.pass("ui/pass/*.rs");
    cases.compile_fail("ui/fail/*.rs");
}
