//! Open files of the whole system, `/proc/sys/fs/file-nr`.

use super::super::page::Page;
use super::host::{Host, NodeError};

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc("sys/fs/file-nr")?;
    let numbers: Vec<f64> = text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let [allocated, _, maximum] = numbers[..] else {
        return Err(host.unexpected("sys/fs/file-nr", "three numbers expected"));
    };
    page.gauge("node_filefd_allocated", "File handles in use.", allocated);
    page.gauge("node_filefd_maximum", "File handles at most.", maximum);
    Ok(())
}
