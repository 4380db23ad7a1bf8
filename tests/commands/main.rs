//! The subcommands that need no server, as a user runs them: arguments and input in, exit code and words out.

use std::io::Write;
use std::process::{Command, Stdio};

struct Case<'a> {
    arguments: &'a [&'a str],
    input: &'a str,
    exit_code: i32,
    words: &'a [&'a str],
}

/// Runs in `tests`.
fn check(case: &Case<'_>) {
    let Case { arguments, input, exit_code, words } = case;
    let mut child = Command::new(env!("CARGO_BIN_EXE_outpost"))
        .args(*arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("outpost starts");
    // A command that does not read its input closes the pipe.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("outpost ends");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(*exit_code), "{arguments:?}: {text}");
    for word in *words {
        assert!(text.contains(word), "{arguments:?} says {word:?}: {text}");
    }
}

#[test]
fn checks_say_what_is_wrong_and_exit_with_1() {
    let cases = [
        Case {
            arguments: &["check", "config", "config/good/tunes_prometheus_only.yml"],
            input: "",
            exit_code: 0,
            words: &["SUCCESS", "5 scrape jobs", "remote_write[0]", "NOTHING IS SENT"],
        },
        Case {
            arguments: &["check", "config", "config/good/tunes_prometheus_only.yml", "config/bad/job_twice.yml"],
            input: "",
            exit_code: 1,
            words: &["SUCCESS", "FAILED: config/bad/job_twice.yml:4:5: scrape_configs[1]: a second job"],
        },
        Case {
            arguments: &["check", "config", "commands/files/probes.yml"],
            input: "",
            exit_code: 1,
            words: &[
                "job \"probes\": static_configs[1]: target 0: there is no module \"ssh\"; known are web",
                "job \"probes\": module \"web\": body_file: commands/files/no_such_body: ",
            ],
        },
        Case {
            arguments: &["check", "config", "commands/files/folders.yml"],
            input: "",
            exit_code: 0,
            words: &[
                "WARNING: commands/files/folders.yml: job \"node\": procfs: there is no folder /no/such/proc\n",
                "job \"node\": flags: --collector.textfile.directory: there is no folder /no/such/*/texts\n  SUCCESS",
            ],
        },
        Case {
            arguments: &["check", "config", "missing.yml"],
            input: "",
            exit_code: 1,
            words: &["missing.yml", "No such file"],
        },
        Case {
            arguments: &["check", "metrics"],
            input: "# HELP a_total A.\n# TYPE a_total counter\na_total 1\n",
            exit_code: 0,
            words: &[],
        },
        Case { arguments: &["check", "metrics"], input: "a_total 1\n", exit_code: 1, words: &["a_total no help text"] },
        Case { arguments: &["check", "metrics"], input: "a{ 1\n", exit_code: 1, words: &["line 1"] },
        Case { arguments: &["check", "metrics", "--extended"], input: "", exit_code: 0, words: &["Cardinality"] },
    ];
    cases.iter().for_each(check);
}

#[test]
fn rules_are_checked_and_tested() {
    let files = ["commands/files/rules.yml", "commands/files/broken.yml", "commands/files/test.yml"];
    let [rules, broken, test] = files;
    let cases = [
        (vec!["check", "rules", rules], 0, vec!["duplicate rule"]),
        (vec!["check", "rules", "--lint-fatal", rules], 1, vec!["duplicate rule"]),
        (vec!["check", "rules", "--lint=none", "--lint-fatal", rules], 0, vec!["2 rules found"]),
        (vec!["check", "rules", rules, broken], 1, vec!["broken.yml:5"]),
        (vec!["check", "config", "commands/files/outpost.yml"], 1, vec!["outpost.yml is valid", "broken.yml:5"]),
        (vec!["check", "config", "--syntax-only", "commands/files/outpost.yml"], 0, vec!["outpost.yml is valid"]),
        (vec!["test", "rules", test], 1, vec!["FAILED", "job:up:sum"]),
        (vec!["test", "rules", "--run=both", test], 0, vec!["SUCCESS"]),
    ];
    for (arguments, exit_code, words) in &cases {
        check(&Case { arguments, input: "", exit_code: *exit_code, words });
    }
}

#[test]
fn unit_tests_are_reported_as_junit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("junit.xml");
    let junit = format!("--junit={}", path.display());
    let arguments = ["test", "rules", junit.as_str(), "commands/files/test.yml"];
    check(&Case { arguments: &arguments, input: "", exit_code: 1, words: &[] });
    let xml = std::fs::read_to_string(&path).expect("a report");
    assert!(xml.contains("one more than there is") && xml.contains("<failure"), "{xml}");
}

#[test]
fn print_config_shows_defaults_and_no_secrets() {
    let cases = [
        Case {
            arguments: &["print-config"],
            input: "",
            exit_code: 0,
            words: &["collector: node", "scrape_interval: 15s", "flush_interval: 30s"],
        },
        Case {
            arguments: &["print-config", "--config.file=config/good/everything.yml"],
            input: "",
            exit_code: 0,
            words: &["password: <secret>", "client_secret: <secret>", "proxy_url: http://user:xxxxx@proxy:3128/"],
        },
        Case {
            arguments: &["print-config", "--config.file=config/bad/key_twice.yml"],
            input: "",
            exit_code: 1,
            words: &["config/bad/key_twice.yml:4:3"],
        },
    ];
    cases.iter().for_each(check);
}

#[test]
fn nobody_at_home_is_exit_code_1() {
    // Port 1 of the loopback: nothing listens there.
    check(&Case {
        arguments: &["health", "--url=http://127.0.0.1:1"],
        input: "",
        exit_code: 1,
        words: &["127.0.0.1:1"],
    });
}

#[test]
fn doctor_says_what_is_wrong_with_a_box_and_how_to_mend_it() {
    let roots = [
        "--path.procfs=fixtures/doctor/pi/proc",
        "--path.sysfs=fixtures/doctor/pi/sys",
        "--path.rootfs=fixtures/doctor/pi/root",
        "--storage.path=/var/lib/outpost",
        "--web.listen-address=127.0.0.1:0",
    ];
    let with = |more: &[&'static str]| [&["doctor"], &roots[..], more].concat();
    check(&Case {
        arguments: &with(&["--config.file=config/bad/job_twice.yml"]),
        input: "",
        exit_code: 1,
        words: &[
            "problem  power: the voltage is too low",
            "warning  storage: /dev/mmcblk0p2 is an SD card",
            "problem  configuration: config/bad/job_twice.yml:4:5: scrape_configs[1]: a second job",
            "mend  outpost check config config/bad/job_twice.yml",
            "cgroup_enable=memory cgroup_memory=1/' /boot/firmware/cmdline.txt",
            "ok       port: 127.0.0.1:0 is free",
            "ok       access: open to this machine alone",
        ],
    });
    let json = &["-o", "json"];
    let words = &["\"severity\": \"problem\"", "\"mend\": \"use the power supply"];
    check(&Case { arguments: &with(json), input: "", exit_code: 1, words });
    check(&Case { arguments: &["doctor", "-o", "xml"], input: "", exit_code: 2, words: &["json"] });
}
