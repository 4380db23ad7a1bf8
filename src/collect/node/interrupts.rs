//! Interrupts (`/proc/interrupts`) and softirqs (`/proc/softirqs`) per CPU; both by setting.

use super::super::page::Page;
use super::host::{Host, NodeError};
use crate::model::MetricType::Counter;

/// The softirqs that node_exporter shows.
const SOFTIRQS: [&str; 10] =
    ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_of_long_lines("interrupts")?;
    let has_zeros = host.flags().is_on("interrupts.include-zeros", true);
    let mut family = page.family("node_interrupts_total", Counter, "Interrupts by CPU and kind.");
    let cpus = text.lines().next().unwrap_or("").split_ascii_whitespace().count();
    for (name, counts, rest) in text.lines().skip(1).filter_map(|line| parse(line, cpus)) {
        // A number has its controller first, then the devices; a name has an explanation.
        let (info, devices) = match name.parse::<u32>() {
            Ok(_) => rest
                .split_first()
                .map_or((String::new(), String::new()), |(first, rest)| ((*first).to_owned(), rest.join(" "))),
            Err(_) => (rest.join(" "), String::new()),
        };
        let filtered = format!("{name};{info};{devices}");
        if !host.flags().shows("interrupts.name-include", "interrupts.name-exclude", &filtered, || true) {
            continue;
        }
        for (cpu, count) in counts.iter().enumerate().filter(|(_, count)| has_zeros || **count != 0.0) {
            let cpu = cpu.to_string();
            family.sample(&[("cpu", &cpu), ("devices", &devices), ("info", &info), ("type", name)], *count);
        }
    }
    Ok(())
}

pub(super) fn collect_softirqs(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_of_long_lines("softirqs")?;
    let mut family = page.family("node_softirqs_functions_total", Counter, "Softirqs by CPU and kind.");
    for line in text.lines().skip(1) {
        let Some((name, counts)) = line.split_once(':') else { continue };
        let name = name.trim();
        if !SOFTIRQS.contains(&name) {
            continue;
        }
        for (cpu, count) in counts.split_ascii_whitespace().map_while(|word| word.parse().ok()).enumerate() {
            family.sample(&[("cpu", &cpu.to_string()), ("type", name)], count);
        }
    }
    Ok(())
}

/// `24:  1 2  GICv2  35 Level  mmc0`: a count per CPU, then text. Lines with one count for all (`ERR`) have no text.
fn parse(line: &str, cpus: usize) -> Option<(&str, Vec<f64>, Vec<&str>)> {
    let (name, rest) = line.split_once(':')?;
    let mut words = rest.split_ascii_whitespace();
    let counts: Vec<f64> = words.by_ref().take(cpus).map_while(|word| word.parse().ok()).collect();
    let rest: Vec<&str> = words.collect();
    (counts.len() == cpus && !rest.is_empty()).then_some((name.trim(), counts, rest))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lines() {
        assert_eq!(
            parse(" 24:  1 2  GICv2  35 Level mmc0", 2),
            Some(("24", vec![1.0, 2.0], vec!["GICv2", "35", "Level", "mmc0"]))
        );
        assert_eq!(
            parse("IPI0:1 2 Rescheduling interrupts", 2),
            Some(("IPI0", vec![1.0, 2.0], vec!["Rescheduling", "interrupts"]))
        );
        for line in ["ERR:  0", "24: 1", "garbage", "24: 1 x y z"] {
            assert_eq!(parse(line, 2), None, "{line}");
        }
    }
}
