//! `docs/performance.md`: what was measured stands between two marks, what people write around them stays.

use std::fs;
use std::io;
use std::path::Path;

use crate::chart::CHARTS;
use crate::record::Record;

const BEGIN: &str = "<!-- measured: from here on by `cargo run --release -p cluster-bench -- --write` -->";
const END: &str = "<!-- measured: up to here -->";

/// Writes the text between the marks, and the pictures beside it.
///
/// # Errors
///
/// The document can't be read or written, or has no marks.
pub(crate) fn write(folder: &Path, measured: &str, record: &Record) -> io::Result<()> {
    let file = folder.join("performance.md");
    let before = fs::read_to_string(&file)?;
    let mut pictures = String::new();
    for chart in CHARTS {
        if let Some(svg) = chart.svg(record) {
            fs::write(folder.join(chart.file).with_extension("svg"), svg)?;
            pictures += &format!("![{}]({}.svg)\n\n", chart.title, chart.file);
        }
    }
    let after = splice(&before, &format!("{pictures}{measured}"));
    let after =
        after.ok_or_else(|| io::Error::other(format!("{} has no marks: {BEGIN} … {END}", file.display())))?;
    fs::write(file, after)
}

fn splice(document: &str, measured: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", measured.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let document = format!("# One\n\n{BEGIN}\nold\n{END}\n\nTwo\n");
        let once = splice(&document, "new\n").expect("it has marks");
        assert_eq!(once, format!("# One\n\n{BEGIN}\n\nnew\n\n{END}\n\nTwo\n"));
        assert_eq!(splice(&once, "new"), Some(once));
        assert_eq!(splice("# One\n", "new"), None);
    }
}
