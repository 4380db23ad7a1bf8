//! A server of the tests' own against golden pages.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::{NutCollector, host_and_port};
use crate::client::{BasicAuth, SecretSource};
use crate::collect::{Collector, NutCollectorSettings};
use crate::model::Secret;

/// A conversation: what the client says, and what is answered.
type Script = &'static [(&'static str, &'static str)];

const ONE_UPS: Script = &[
    ("LIST UPS", "BEGIN LIST UPS\nUPS office \"Eaton 3S\"\nEND LIST UPS\n"),
    (
        "LIST VAR office",
        "BEGIN LIST VAR office\n\
         VAR office battery.charge \"100\"\n\
         VAR office battery.runtime \"2100.5\"\n\
         VAR office device.mfr \"EATON \"\n\
         VAR office device.model \"Eaton \\\"3S\\\" 700\"\n\
         VAR office device.serial \"00042\"\n\
         VAR office input.transfer.reason \"input voltage out of range\"\n\
         VAR office outlet.1.status \"on\"\n\
         VAR office ups.beeper.status \"disabled\"\n\
         VAR office ups.firmware \"1.2.3\"\n\
         VAR office ups.status \"OL CHRG\"\n\
         VAR office ups.temperature-min \"-5\"\n\
         END LIST VAR office\n",
    ),
    ("GET DESC office battery.charge", "DESC office battery.charge \"Battery charge (percent of full)\"\n"),
    ("GET DESC office battery.runtime", "DESC office battery.runtime \"Battery runtime (seconds)\"\n"),
    ("GET DESC office device.serial", "DESC office device.serial \"Unavailable\"\n"),
    ("GET DESC office outlet.1.status", "DESC office outlet.1.status \"Unavailable\"\n"),
    ("GET DESC office ups.beeper.status", "DESC office ups.beeper.status \"UPS beeper status\"\n"),
    ("GET DESC office ups.status", "DESC office ups.status \"UPS status\"\n"),
    ("GET DESC office ups.temperature-min", "DESC office ups.temperature-min \"Unavailable\"\n"),
];

const ONE_UPS_PAGE: &str = r#"# HELP network_ups_tools_battery_charge Battery charge (percent of full) (battery.charge)
# TYPE network_ups_tools_battery_charge gauge
network_ups_tools_battery_charge 100
# HELP network_ups_tools_battery_runtime Battery runtime (seconds) (battery.runtime)
# TYPE network_ups_tools_battery_runtime gauge
network_ups_tools_battery_runtime 2100.5
# HELP network_ups_tools_device_serial Unavailable (device.serial)
# TYPE network_ups_tools_device_serial gauge
network_ups_tools_device_serial 42
# HELP network_ups_tools_outlet_1_status Unavailable (outlet.1.status)
# TYPE network_ups_tools_outlet_1_status gauge
network_ups_tools_outlet_1_status 1
# HELP network_ups_tools_ups_beeper_status UPS beeper status (ups.beeper.status)
# TYPE network_ups_tools_ups_beeper_status gauge
network_ups_tools_ups_beeper_status 0
# HELP network_ups_tools_ups_status UPS status (ups.status)
# TYPE network_ups_tools_ups_status gauge
network_ups_tools_ups_status{flag="CHRG"} 1
network_ups_tools_ups_status{flag="OL"} 1
network_ups_tools_ups_status{flag="OB"} 0
network_ups_tools_ups_status{flag="LB"} 0
network_ups_tools_ups_status{flag="HB"} 0
network_ups_tools_ups_status{flag="RB"} 0
network_ups_tools_ups_status{flag="DISCHRG"} 0
network_ups_tools_ups_status{flag="BYPASS"} 0
network_ups_tools_ups_status{flag="CAL"} 0
network_ups_tools_ups_status{flag="OFF"} 0
network_ups_tools_ups_status{flag="OVER"} 0
network_ups_tools_ups_status{flag="TRIM"} 0
network_ups_tools_ups_status{flag="BOOST"} 0
network_ups_tools_ups_status{flag="FSD"} 0
network_ups_tools_ups_status{flag="SD"} 0
# HELP network_ups_tools_ups_temperature_min Unavailable (ups.temperature-min)
# TYPE network_ups_tools_ups_temperature_min gauge
network_ups_tools_ups_temperature_min -5
# HELP network_ups_tools_device_info What the power supply says of itself.
# TYPE network_ups_tools_device_info gauge
network_ups_tools_device_info{model="Eaton \"3S\" 700",mfr="EATON",serial="00042",type="",description="",contact="",location="",part="",macaddr=""} 1
"#;

/// Serves the scripts, one connection after the other. What does not follow one is answered with an error.
async fn server(scripts: Vec<Script>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        for script in scripts {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut stream = BufReader::new(stream);
            for (expected, answer) in script {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("a request");
                let answer = if line.trim_end() == *expected { answer } else { "ERR UNEXPECTED\n" };
                stream.get_mut().write_all(answer.as_bytes()).await.expect("the client reads");
            }
        }
    });
    address
}

async fn collected(collector: &NutCollector) -> Result<String, String> {
    let mut page = Vec::new();
    collector.collect(&mut page).await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(page).expect("text"))
}

#[tokio::test]
async fn variables_become_families_and_are_described_once() {
    let server = server(vec![ONE_UPS, &ONE_UPS[..2]]).await;
    let collector = NutCollector::new(NutCollectorSettings { server, ..NutCollectorSettings::default() });
    for _ in 0..2 {
        assert_eq!(collected(&collector).await.as_deref(), Ok(ONE_UPS_PAGE));
    }
}

#[tokio::test]
async fn a_user_a_name_and_chosen_variables() {
    let script: Script = &[
        ("USERNAME monitor", "OK\n"),
        ("PASSWORD \"two words\"", "OK\n"),
        (
            "LIST VAR cellar",
            "BEGIN LIST VAR cellar\nVAR cellar ups.load \"7\"\nVAR cellar x.y \"1\"\nEND LIST VAR cellar\n",
        ),
        ("GET DESC cellar ups.load", "DESC cellar ups.load \"Load on UPS (percent of full)\"\n"),
    ];
    let inline = |text: &str| SecretSource::Inline(Secret::new(text));
    let settings = NutCollectorSettings {
        server: server(vec![script]).await,
        ups: Some("cellar".to_owned()),
        user: Some(BasicAuth { username: inline("monitor"), password: inline("two words") }),
        variables: vec!["ups.load".to_owned()],
    };
    let page = collected(&NutCollector::new(settings)).await.expect("a page");
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples[0], "network_ups_tools_ups_load 7");
    assert_eq!((samples.len(), samples[1].starts_with("network_ups_tools_device_info{")), (2, true), "{page}");
}

#[tokio::test]
async fn a_server_that_describes_nothing_is_asked_no_further() {
    let script: Script = &[
        ("LIST UPS", "BEGIN LIST UPS\nUPS a \"\"\nEND LIST UPS\n"),
        ("LIST VAR a", "BEGIN LIST VAR a\nVAR a ups.load \"7\"\nVAR a ups.power \"8\"\nEND LIST VAR a\n"),
        ("GET DESC a ups.load", "ERR UNKNOWN-COMMAND\n"),
    ];
    let server = server(vec![script]).await;
    let collector = NutCollector::new(NutCollectorSettings { server, ..Default::default() });
    let page = collected(&collector).await.expect("the values were read");
    assert!(
        page.contains("\nnetwork_ups_tools_ups_load 7\n") && page.contains("\nnetwork_ups_tools_ups_power 8\n"),
        "{page}"
    );
}

#[tokio::test]
async fn what_goes_wrong_is_said() {
    let cases: [(Script, &str); 8] = [
        (&[("LIST UPS", "BEGIN LIST UPS\nEND LIST UPS\n")], "it has no ups"),
        (
            &[("LIST UPS", "BEGIN LIST UPS\nUPS a \"\"\nUPS b \"\"\nEND LIST UPS\n")],
            "it has several; a job with `ups:` for each of a, b",
        ),
        (
            &[("LIST UPS", "BEGIN LIST UPS\nUPS a \"\"\nEND LIST UPS\n"), ("LIST VAR a", "ERR DATA-STALE\n")],
            "its driver has lost the ups (DATA-STALE): look at the cable",
        ),
        (
            &[("LIST UPS", "ERR ACCESS-DENIED\n")],
            "access denied (ACCESS-DENIED): set `basic_auth` to a user of its upsd.users",
        ),
        (&[("LIST UPS", "HTTP/1.1 400 Bad Request\n")], "LIST UPS was answered with \"HTTP/1.1 400 Bad Request\""),
        (&[("LIST UPS", "BEGIN LIST UPS\nVAR a b\n")], "LIST UPS goes on with \"VAR a b\""),
        (&[("LIST UPS", "BEGIN LIST UPS\nUPS a \"open\n")], "a quote without an end in \"UPS a \\\"open\""),
        (&[("LIST UPS", "BEGIN LIST UPS\n")], "it closed the connection"),
    ];
    for (script, expected) in cases {
        let server = server(vec![script]).await;
        let collector = NutCollector::new(NutCollectorSettings { server: server.clone(), ..Default::default() });
        assert_eq!(collected(&collector).await, Err(format!("the NUT server {server}: {expected}")));
    }
}

#[tokio::test]
async fn endless_answers_are_cut() {
    for (line, expected) in [
        ("UPS a \"\"\n", "LIST UPS has more than 512 lines"),
        ("UPS aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "a line without an end"),
    ] {
        let answer = format!("BEGIN LIST UPS\n{}", line.repeat(1000));
        let script: Script = Vec::leak(vec![("LIST UPS", String::leak(answer) as &str)]);
        let server = server(vec![script]).await;
        let collector = NutCollector::new(NutCollectorSettings { server: server.clone(), ..Default::default() });
        assert_eq!(collected(&collector).await, Err(format!("the NUT server {server}: {expected}")));
    }
}

#[test]
fn addresses() {
    for (server, expected) in [
        ("nas", Some(("nas", 3493))),
        ("nas:1234", Some(("nas", 1234))),
        ("192.168.1.2:3493", Some(("192.168.1.2", 3493))),
        ("[fd00::2]:1234", Some(("fd00::2", 1234))),
        ("[fd00::2]", Some(("fd00::2", 3493))),
        ("fd00::2", Some(("fd00::2", 3493))),
        ("nas:", None),
        ("nas:99999", None),
        ("ups@nas", None),
        ("", None),
        ("http://nas", None),
    ] {
        assert_eq!(host_and_port(server), expected);
    }
}
