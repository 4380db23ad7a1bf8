//! Processes and threads by state, `/proc/*/stat`; by setting, since it reads a file per thread.

use super::super::page::Page;
use super::host::{Host, NodeError, names, read_text};
use super::table::Tally;
use crate::model::MetricType::Gauge;

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let (mut processes, mut threads) = (Tally::default(), Tally::default());
    let (mut count, mut thread_count) = (0_u64, 0_u64);
    for process in ids(&names(host.procfs())) {
        let folder = host.procfs().join(process);
        // One that ended meanwhile is left out.
        let Some((state, of_process)) = read_text(&folder.join("stat")).ok().and_then(|text| parse(&text)) else {
            continue;
        };
        count += 1;
        thread_count += of_process;
        *processes.of(&state) += 1.0;
        let tasks = folder.join("task");
        for thread in ids(&names(&tasks)) {
            let of_thread = match thread == process {
                true => Some(state.clone()),
                false => {
                    read_text(&tasks.join(thread).join("stat")).ok().and_then(|text| parse(&text)).map(|stat| stat.0)
                }
            };
            if let Some(state) = of_thread {
                *threads.of(&state) += 1.0;
            }
        }
    }
    page.gauge("node_processes_threads", "Threads.", thread_count as f64);
    page.gauge("node_processes_max_threads", "Threads at most.", host.proc_number("sys/kernel/threads-max")?);
    for (name, help, label, counts) in [
        ("node_processes_state", "Processes by state.", "state", &processes),
        ("node_processes_threads_state", "Threads by state.", "thread_state", &threads),
    ] {
        let mut family = page.family(name, Gauge, help);
        for (state, count) in counts.iter() {
            family.sample(&[(label, state)], count);
        }
    }
    page.gauge("node_processes_pids", "Processes.", count as f64);
    page.gauge("node_processes_max_processes", "Process ids at most.", host.proc_number("sys/kernel/pid_max")?);
    Ok(())
}

fn ids(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// State, and the number of threads. The name in parentheses may hold anything, parentheses too; see proc(5).
fn parse(text: &str) -> Option<(String, u64)> {
    let mut words = text.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((words.next()?.to_owned(), words.nth(16)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_name_may_hold_anything() {
        let text = "7 (a) R (b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19";
        assert_eq!(super::parse(text), Some(("S".to_owned(), 17)));
        assert_eq!(super::parse("garbage"), None);
    }
}
