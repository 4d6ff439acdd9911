//! Bars as an SVG: on a light page as on a dark one.

use std::fmt::Write;

use crate::record::Record;
use crate::report::title;

/// One picture.
#[derive(Debug)]
pub(crate) struct Chart {
    /// Its file's name, without the ending.
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    /// One bar of each in every row: scenario, column, what it is called, digits.
    bars: &'static [(&'static str, &'static str, &'static str, usize)],
}

pub(crate) static CHARTS: &[Chart] = &[
    Chart {
        file: "performance-cpu",
        title: "Server's CPU for one request, µs (less is better)",
        bars: &[
            ("connection", "cpu", "one connection for each request", 1),
            ("keep-alive", "cpu", "kept connections", 1),
        ],
    },
    Chart {
        file: "performance-fair",
        title: "Fast requests among slow ones: p99, ms (less is better)",
        bars: &[
            ("fair", "block p99", "slow ones block their thread", 1),
            ("fair", "wait p99", "slow ones await", 1),
        ],
    },
];

const WIDTH: f64 = 800.0;
const LEFT: f64 = 210.0;
/// For the number behind the longest bar.
const RIGHT: f64 = 60.0;
const BAR: f64 = 12.0;
const GAP: f64 = 10.0;
const TOP: f64 = 64.0;
/// Seen on white and on black; the second is for what the first is compared with.
const COLOURS: [&str; 2] = ["#d9662b", "#3f8fc4"];

impl Chart {
    /// `None` where nothing of it was measured.
    pub(crate) fn svg(&self, record: &Record) -> Option<String> {
        let (scenario, ..) = self.bars.first()?;
        let rows = record.rows(scenario);
        let value = |row: &str, bar: usize| {
            let (scenario, column, ..) = self.bars[bar];
            record.get(scenario, row, column)
        };
        let all = rows.iter().flat_map(|row| (0..self.bars.len()).filter_map(|bar| value(row, bar)));
        let most = all.fold(0.0, f64::max);
        if most <= 0.0 {
            return None;
        }
        let step = self.bars.len() as f64 * (BAR + 2.0) + GAP;
        let height = TOP + step * rows.len() as f64;
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"13\" fill=\"#7d8590\" role=\"img\">"
        );
        let _ = writeln!(svg, "<title>{}</title>", escape(self.title));
        let _ = writeln!(svg, "<text x=\"0\" y=\"18\" font-size=\"16\">{}</text>", escape(self.title));
        for (bar, (_, _, name, _)) in self.bars.iter().enumerate() {
            let x = LEFT + bar as f64 * 260.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"32\" width=\"12\" height=\"12\" fill=\"{}\"/>",
                COLOURS[bar % 2]
            );
            let _ = writeln!(svg, "<text x=\"{}\" y=\"43\">{}</text>", x + 18.0, escape(name));
        }
        for (n, row) in rows.iter().enumerate() {
            let top = TOP + step * n as f64;
            let middle = top + (step - GAP) / 2.0 + 4.0;
            let weight = if title(row).starts_with("cluster") { " font-weight=\"bold\"" } else { "" };
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{middle:.1}\" text-anchor=\"end\"{weight}>{}</text>",
                LEFT - 10.0,
                escape(title(row))
            );
            for (bar, (.., digits)) in self.bars.iter().enumerate() {
                let Some(value) = value(row, bar) else { continue };
                let y = top + bar as f64 * (BAR + 2.0);
                let width = ((WIDTH - LEFT - RIGHT) * value / most).max(1.0);
                let colour = COLOURS[bar % 2];
                let _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>"
                );
                let (x, y) = (LEFT + width + 6.0, y + BAR - 1.5);
                let _ =
                    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"12\">{value:.digits$}</text>");
            }
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values_say() {
        let mut record = Record::default();
        record.add("connection", "cluster", "cpu", 25.0);
        record.add("connection", "node", "cpu", 100.0);
        let svg = CHARTS[0].svg(&record).expect("something was measured");
        let full = WIDTH - LEFT - RIGHT;
        assert!(
            svg.contains(&format!("width=\"{:.1}\"", full))
                && svg.contains(&format!("width=\"{:.1}\"", full / 4.0))
        );
        assert!(svg.contains(">100.0</text>") && svg.ends_with("</svg>\n"));
        assert!(CHARTS[0].svg(&Record::default()).is_none());
    }
}
