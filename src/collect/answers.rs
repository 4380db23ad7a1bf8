//! Pages of answers as a stranger may send them, without the stranger: what fuzzing drives.

use super::page::Page;
use super::{docker, node, nut, smart};

/// Whose answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A container engine: list, details and statistics, with a NUL byte between.
    Engine,
    /// smartctl.
    Smartctl,
    /// A network device's driver: the same bytes to every question.
    Driver,
    /// The kernel on radios: a part of an answer over netlink, to the first question.
    Radio,
    /// upsd: the lines behind `BEGIN LIST VAR ups`.
    Upsd,
}

/// The page that a collector makes of `answer`. Whatever is not understood gives an empty one.
pub fn page_of_answer(stranger: Stranger, answer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stranger {
        Stranger::Engine => docker::write_answers(&mut bytes, answer),
        Stranger::Smartctl => smart::write_answer(&mut Page::new(&mut bytes), answer),
        Stranger::Driver => node::write_ethtool_answer(&mut Page::new(&mut bytes), answer),
        Stranger::Radio => node::write_wifi_answer(&mut Page::new(&mut bytes), answer),
        Stranger::Upsd => nut::write_answer(&mut bytes, &String::from_utf8_lossy(answer)),
    }
    bytes
}
