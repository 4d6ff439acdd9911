//! Workers leave, one after the other and all at once, under the load of every kind of client; the judge watches.

use std::{env, fs, process};

use cluster_judge::{Class, Plan, Trial, Verdict};
use cluster_tests::{Cluster, Signal};

/// All kinds of clients, few of each, on these addresses; and some that ask again at once when they were answered,
/// which is the worst moment to close on them.
fn mixed(addresses: &str) -> Plan {
    let mut plan = Plan::on(addresses.split(' ').map(|address| address.parse().expect("an address")));
    plan.crews.push("keep-alive=3@1ms".parse().expect("a crew"));
    plan.may_race = true;
    plan
}

/// Every client has been answered, and is asking again.
fn served(cluster: &mut Cluster, trial: &Trial) {
    let all = trial.each_has(Class::Ok, 3);
    cluster.check(all, &format!("everybody to be served\n{}", trial.verdict()));
}

fn clean(cluster: &mut Cluster, verdict: &Verdict) {
    println!("{verdict}");
    cluster.check(verdict.is_clean(), &format!("a clean verdict\n{verdict}"));
    // Who is idle for longer than the last call may cross with the close; all others are told before.
    let raced = verdict.raced_in_time();
    cluster.check(raced == 0, &format!("nothing raced but who was late\n{verdict}"));
}

fn addresses(unix: &str) -> String {
    let path = env::temp_dir().join(format!("cluster-{unix}-{}.sock", process::id()));
    // Of a run that was cut short.
    let _ = fs::remove_file(&path);
    format!("127.0.0.1:0 unix:{}", path.display())
}

/// Both addresses as they are, now that all workers listen on both.
fn listening_on_both(cluster: &mut Cluster) -> String {
    cluster.up(2);
    cluster
        .until("both addresses", |story| (story.addresses().len() == 2).then(|| story.addresses().join(" ")))
}

/// Mutation: drop the connections when the drain begins.
#[test]
fn workers_that_leave_one_after_the_other_lose_nothing() {
    let mut cluster = Cluster::of("judged").workers(2).bind(&addresses("leave")).start();
    let both = listening_on_both(&mut cluster);
    let trial = mixed(&both).begin().expect("start the clients");
    // Who ends without having been asked by the primary is told of as an error, whatever the status.
    cluster.expect_log("exited with status 0");
    for id in 1..=4 {
        served(&mut cluster, &trial);
        cluster.signal_worker(id, Signal::TERM);
        let exit = cluster.exit(id);
        cluster.check(exit.code == Some(0), "a worker that ends well");
        cluster.up(2);
    }
    served(&mut cluster, &trial);
    let verdict = trial.stop();
    clean(&mut cluster, &verdict);
    cluster.stop();
}

/// SIGTERM to the primary: whoever is refused had not asked yet, and nobody is answered after that.
///
/// Mutation: as above.
#[test]
fn a_stop_loses_nothing() {
    let mut cluster = Cluster::of("judged").workers(2).bind(&addresses("stop")).start();
    let mut plan = mixed(&listening_on_both(&mut cluster));
    plan.may_stop = true;
    let trial = plan.begin().expect("start the clients");
    served(&mut cluster, &trial);
    cluster.signal(Signal::TERM);
    cluster.check(trial.each_has(Class::Refused, 1), "everybody to be refused");
    let verdict = trial.stop();
    clean(&mut cluster, &verdict);
    cluster.ends(0);
}
