//! The families of one probe, in the order in which they are first named.

use crate::collect::page::Page;
use crate::model::MetricType;

/// A label's text is a stranger's at times (names of a certificate, what a server greets with), and a series that is too
/// long costs the whole page: beyond this it is cut.
const LABEL_BYTES_MAX: usize = 2048;

/// A gauge's name and help.
pub(super) type Gauge = (&'static str, &'static str);
type Sample = (Vec<(String, String)>, f64);

/// Gauges with their samples, which a probe sets while it goes on.
#[derive(Debug, Default)]
pub(super) struct Sheet(Vec<(Gauge, Vec<Sample>)>);

impl Sheet {
    /// Sets a gauge without labels.
    pub(super) fn set(&mut self, gauge: Gauge, value: f64) {
        self.set_with(gauge, Vec::new(), value);
    }

    /// Sets a gauge's sample with one label.
    pub(super) fn set_of(&mut self, gauge: Gauge, label: &str, text: &str, value: f64) {
        self.set_with(gauge, vec![(label.to_owned(), text.to_owned())], value);
    }

    /// Sets a gauge's sample.
    pub(super) fn set_with(&mut self, gauge: Gauge, mut labels: Vec<(String, String)>, value: f64) {
        for (_, text) in &mut labels {
            text.truncate(text.floor_char_boundary(LABEL_BYTES_MAX));
        }
        let index = self.0.iter().position(|(known, _)| known.0 == gauge.0).unwrap_or_else(|| {
            self.0.push((gauge, Vec::new()));
            self.0.len() - 1
        });
        let samples = &mut self.0[index].1;
        match samples.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, known)) => *known = value,
            None => samples.push((labels, value)),
        }
    }

    /// Writes the families.
    pub(super) fn write(&self, page: &mut Vec<u8>) {
        let mut page = Page::new(page);
        for ((name, help), samples) in &self.0 {
            let mut family = page.family(name, MetricType::Gauge, help);
            for (labels, value) in samples {
                let labels: Vec<(&str, &str)> =
                    labels.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
                family.sample(&labels, *value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_cut_at_a_letter() {
        let mut sheet = Sheet::default();
        sheet.set_of(("a", "A."), "b", &format!("a{}", "é".repeat(5000)), 1.0);
        let mut page = Vec::new();
        sheet.write(&mut page);
        let page = String::from_utf8(page).expect("text");
        let line = page.lines().last().expect("a sample");
        assert_eq!(line, format!("a{{b=\"a{}\"}} 1", "é".repeat(1023)));
    }
}
