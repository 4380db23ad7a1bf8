//! What the installed service runs with, where no flag says otherwise.

use std::path::PathBuf;

use super::host::Host;
use crate::cli::{Command, Doctor, RunOptions, parse};
use crate::commands::finding::Finding;

/// Where the unit reads further flags.
const FLAGS_FILE: &str = "/etc/default/outpost";
const FLAGS_KEY: &str = "OUTPOST_OPTS";
/// What the unit says itself.
const CONFIG: &str = "/etc/outpost/outpost.yml";
const STORE: &str = "/var/lib/outpost";

/// How a flag of the service is changed.
pub const SETTING_FLAGS: &str =
    "a service's flags stand in OUTPOST_OPTS of /etc/default/outpost, which a restart reads";

/// The flags that are looked at, and a finding where those of the service are wrong.
pub fn options(doctor: &Doctor, host: &Host) -> (RunOptions, Option<Finding>) {
    let mut options = (*doctor.options).clone();
    if options.config_file.is_none() {
        options.config_file = there(CONFIG);
    }
    if let Some(store) = there(STORE).filter(|_| !doctor.has_storage_path) {
        options.storage_path = store;
    }
    if doctor.has_flags {
        return (options, None);
    }
    match of_service(host) {
        Ok(of_service) => (of_service, None),
        Err(mistake) => (options, Some(of_mistake(&mistake))),
    }
}

/// The unit's own flags and those of its environment file, of which the later of two equal ones counts.
fn of_service(host: &Host) -> Result<RunOptions, String> {
    let own = [("--config.file", CONFIG), ("--storage.path", STORE)];
    let own = own.into_iter().filter_map(|(flag, path)| Some(format!("{flag}={}", there(path)?.display())));
    let more = flags(&host.root(FLAGS_FILE).unwrap_or_default());
    let line = ["outpost".to_owned()].into_iter().chain(own).chain(more);
    match parse(line.map(Into::into)) {
        Ok(Command::Run(options)) => Ok(*options),
        Ok(_) => Err("they name a command".to_owned()),
        Err(usage) => Err(usage.text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()),
    }
}

fn there(path: &str) -> Option<PathBuf> {
    Some(PathBuf::from(path)).filter(|path| path.exists())
}

/// The words of the last line that sets them, as systemd takes them from an environment file.
fn flags(text: &str) -> Vec<String> {
    let value = |line: &str| Some(line.trim().strip_prefix(FLAGS_KEY)?.strip_prefix('=')?.trim().to_owned());
    let last = text.lines().filter_map(value).next_back().unwrap_or_default();
    let unquoted = ['"', '\''].iter().find_map(|quote| last.strip_prefix(*quote)?.strip_suffix(*quote));
    words(unquoted.unwrap_or(&last))
}

/// Splits a line as systemd does, which takes what stands in quotes as one word.
pub fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in line.chars() {
        match quote {
            Some(mark) if mark == char => quote = None,
            None if char == '"' || char == '\'' => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            None if char.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

fn of_mistake(mistake: &str) -> Finding {
    Finding::problem(
        "flags",
        format!("{FLAGS_KEY} in {FLAGS_FILE}: {mistake}"),
        "the service does not start with them",
        format!("outpost --help lists the flags; sudoedit {FLAGS_FILE} && sudo systemctl restart outpost"),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::host::tests::made;
    use super::*;

    fn doctor(line: &str) -> Doctor {
        match parse(["outpost", "doctor"].into_iter().chain(line.split_whitespace()).map(Into::into)) {
            Ok(Command::Doctor(doctor)) => doctor,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_service_s_flags_count_where_none_are_given() {
        let usual = "OUTPOST_OPTS=--storage.path=/srv/a --web.listen-address=:9091";
        for (line, text, store, address) in [
            ("", usual, "/srv/a", ":9091"),
            ("-o json", usual, "/srv/a", ":9091"),
            ("--storage.path=b", usual, "b", "0.0.0.0:9090"),
            ("--no-web.enable-lifecycle --storage.path=b", usual, "b", "0.0.0.0:9090"),
            (
                "",
                "#OUTPOST_OPTS=--log.level=x\nOUTPOST_OPTS=--storage.path /a\nOUTPOST_OPTS=\"--storage.path /c\"",
                "/c",
                "0.0.0.0:9090",
            ),
            ("", " OUTPOST_OPTS='--storage.path=/d'\r\n", "/d", "0.0.0.0:9090"),
        ] {
            let (_folder, host) = made(&[("etc/default/outpost", text)]);
            let (options, mistake) = options(&doctor(line), &host);
            assert_eq!(options.storage_path, Path::new(store), "{line} {text}");
            assert_eq!((options.listen_addresses, mistake), (vec![address.to_owned()], None), "{line} {text}");
        }
    }

    #[test]
    fn lines_are_split_as_systemd_does() {
        for (line, expected) in [
            (" a  b ", &["a", "b"][..]),
            (r#""/srv/my data" c"#, &["/srv/my data", "c"]),
            (r#"--x='a "b"' ''"#, &[r#"--x=a "b""#, ""]),
            ("", &[]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn flags_with_which_the_service_does_not_start_are_a_problem() {
        for (text, word) in [
            ("OUTPOST_OPTS=--storage.pth=/a", "--storage.pth"),
            ("OUTPOST_OPTS=--query.timeout=never", "query.timeout"),
            ("OUTPOST_OPTS=health", "a command"),
        ] {
            let (_folder, host) = made(&[("etc/default/outpost", text)]);
            let found = options(&doctor(""), &host).1.unwrap();
            assert!(
                found.what.starts_with("OUTPOST_OPTS in /etc/default/outpost: ") && found.what.contains(word),
                "{found:?}"
            );
        }
    }
}
