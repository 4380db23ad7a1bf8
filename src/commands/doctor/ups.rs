//! Whether `collector: nut` reaches its server and power supply.

use std::time::Duration;

use super::within;
use crate::collect::{
    CollectError, Collector, CollectorSettings, NutCollector, NutCollectorSettings, nut_host_and_port,
};
use crate::commands::finding::Finding;
use crate::config::Config;
use crate::scrape::JobSource;

const SUBJECT: &str = "ups";
/// A server in the local network that takes longer does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// All findings; nothing where the configuration asks no power supply.
pub fn look(config: &Config) -> Vec<Finding> {
    let jobs = config.jobs.iter().filter_map(|job| match &job.source {
        JobSource::Collector(CollectorSettings::Nut(settings)) => Some(settings),
        _ => None,
    });
    jobs.map(of_job).collect()
}

fn of_job(settings: &NutCollectorSettings) -> Finding {
    let server = &settings.server;
    let Err(reason) = ask(settings) else {
        return Finding::good(SUBJECT, format!("the NUT server {server} tells of its power supply"));
    };
    let host = nut_host_and_port(server).map_or(server.as_str(), |(host, _)| host);
    let mend = if matches!(host, "localhost" | "127.0.0.1" | "::1") {
        "sudo systemctl enable --now nut-server; upsc -l says which power supplies it has".to_owned()
    } else {
        format!("upsc -l {host} asks it by hand; set nut_server, ups and basic_auth of the job to what it answers to")
    };
    Finding::problem(SUBJECT, reason, "the nut job is down: nobody is warned of a power cut", mend)
}

/// Reads it as the job does.
fn ask(settings: &NutCollectorSettings) -> Result<(), String> {
    let collector = NutCollector::new(settings.clone());
    let mut page = Vec::new();
    let silent = |reason| CollectError::Nut { server: settings.server.clone(), reason };
    let asked = within(ANSWER_TIMEOUT, collector.collect(&mut page));
    asked.map_err(silent).and_then(|collected| collected).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::commands::finding::Severity;

    /// A server that knows these power supplies.
    fn upsd(names: &'static [&'static str]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
                let answer = match line.as_str() {
                    "LIST UPS" => {
                        let list: String = names.iter().map(|name| format!("UPS {name} \"\"\n")).collect();
                        format!("BEGIN LIST UPS\n{list}END LIST UPS\n")
                    }
                    "LIST VAR a" if names.contains(&"a") => {
                        "BEGIN LIST VAR a\nVAR a ups.load \"5\"\nEND LIST VAR a\n".to_owned()
                    }
                    _ => "ERR UNKNOWN-UPS\n".to_owned(),
                };
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        address
    }

    #[test]
    fn servers_and_power_supplies_are_looked_for() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let settings = |server: String, ups: Option<&str>| NutCollectorSettings {
            server,
            ups: ups.map(str::to_owned),
            ..Default::default()
        };
        for (settings, severity, what) in [
            (settings(upsd(&["a"]), None), Severity::Good, "tells of its power supply"),
            (settings(upsd(&["a", "b"]), Some("a")), Severity::Good, "tells of its power supply"),
            (settings(upsd(&["a", "b"]), None), Severity::Problem, "for each of a, b"),
            (settings(upsd(&["b"]), Some("a")), Severity::Problem, "it knows no such ups"),
            (settings(closed, None), Severity::Problem, "refused"),
        ] {
            let found = of_job(&settings);
            assert!(found.severity == severity && found.what.contains(what), "{found:?}");
            assert_eq!(found.mend.starts_with("sudo systemctl enable"), severity == Severity::Problem, "{found:?}");
        }
    }
}
