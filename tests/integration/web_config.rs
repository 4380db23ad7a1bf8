//! `--web.config.file`: TLS, client certificates and users, with outpost's own commands, promtool and a bare client.

use std::path::Path;
use std::process::{Command, Stdio};

use super::support::{
    Answer, Ask, Outpost, PATIENCE, eventually, exchange, exchange_tls, fixture, program, run_to_end,
};

const CONFIG: &str = "scrape_configs: []\n";

/// Writes `web.yml` and starts outpost with it, without waiting for a plain answer.
fn start(web: &str) -> Outpost {
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["server.pem", "server.key", "ca.pem"] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("web.yml"), web).unwrap();
    Outpost::start_guarded(folder, CONFIG, &["--web.config.file=web.yml", "--log.level=debug"])
}

fn users(password: &str) -> String {
    format!(
        "tls_server_config: {{cert_file: server.pem, key_file: server.key}}\n\
         http_server_config: {{headers: {{X-Frame-Options: deny, Strict-Transport-Security: max-age=60}}}}\n\
         basic_auth_users: {{alice: '{}'}}\n",
        bcrypt::hash(password, 4).unwrap()
    )
}

fn ask(outpost: &Outpost, credentials: Option<&str>, with_certificate: bool) -> Result<Answer, String> {
    let headers = credentials.map(|credentials| ("Authorization".to_owned(), format!("Basic {credentials}")));
    let ask = Ask {
        method: "GET".to_owned(),
        target: "/-/ready".to_owned(),
        headers: headers.into_iter().collect(),
        body: None,
    };
    exchange_tls(&outpost.address, &ask, with_certificate)
}

/// alice:secret, alice:other, bob:secret
const SECRET: Option<&str> = Some("YWxpY2U6c2VjcmV0");
const OTHER: Option<&str> = Some("YWxpY2U6b3RoZXI=");
const BOB: Option<&str> = Some("Ym9iOnNlY3JldA==");

#[test]
fn users_come_in_over_tls_and_changes_count_without_a_restart() {
    let outpost = start(&users("secret"));
    let ready = |credentials| move |outpost: &Outpost| ask(outpost, credentials, false);
    eventually(PATIENCE, "alice gets in", || {
        let answer = ready(SECRET)(&outpost)?;
        (answer.status == 200).then_some(answer).ok_or_else(|| "not ready".to_owned())
    });
    let answer = ready(SECRET)(&outpost).unwrap();
    assert_eq!(
        (answer.header("x-frame-options"), answer.header("strict-transport-security")),
        ("deny".to_owned(), "max-age=60".to_owned())
    );
    for wrong in [None, OTHER, BOB] {
        let answer = ready(wrong)(&outpost).unwrap();
        assert_eq!((answer.status, answer.header("www-authenticate").as_str()), (401, "Basic"), "{wrong:?}");
        assert_eq!(answer.header("x-frame-options"), "deny");
    }
    let plain = Ask { method: "GET".to_owned(), target: "/-/ready".to_owned(), ..Ask::default() };
    let answer = exchange(&outpost.address, &plain).unwrap();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("HTTPS"), "{}", answer.text());

    // A file with a mistake changes nothing; a right one does, for users and certificates.
    let web = outpost.folder().join("web.yml");
    std::fs::write(&web, "basic_auth_users: {alice: plain}\n").unwrap();
    eventually(PATIENCE, "the mistake is logged", || {
        outpost.process.output().contains("bcrypt").then_some(()).ok_or_else(|| "nothing yet".to_owned())
    });
    assert_eq!(ready(SECRET)(&outpost).unwrap().status, 200);
    std::fs::write(&web, users("other")).unwrap();
    eventually(PATIENCE, "the new password counts", || {
        let answer = ready(OTHER)(&outpost)?;
        (answer.status == 200).then_some(()).ok_or_else(|| format!("status {}", answer.status))
    });
    assert_eq!(ready(SECRET)(&outpost).unwrap().status, 401, "the old password was remembered for the old file alone");
    for (name, present) in [("expired.key", "server.key"), ("expired.pem", "server.pem")] {
        std::fs::copy(fixture(name), outpost.folder().join(present)).unwrap();
    }
    eventually(PATIENCE, "the new certificate counts", || match ready(OTHER)(&outpost) {
        Err(reason) if reason.contains("xpired") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn own_commands_and_promtool_get_in() {
    let outpost = start(&users("secret"));
    let folder = outpost.folder();
    let file = |name: &str, password: &str| {
        let text = format!("basic_auth: {{username: alice, password: {password}}}\ntls_config: {{ca_file: ca.pem}}\n");
        std::fs::write(folder.join(name), text).unwrap();
        format!("--http.config.file={name}")
    };
    let (right, wrong) = (file("client.yml", "secret"), file("wrong.yml", "other"));
    let url = format!("https://{}", outpost.address);
    eventually(PATIENCE, "it is healthy", || {
        let (code, output) = run_to_end(&folder, &["health", &right, "--url", &url]);
        (code == 0).then_some(()).ok_or(output)
    });
    let (code, output) = run_to_end(&folder, &["query", "instant", &right, &url, "1+1"]);
    assert_eq!((code, output.trim().starts_with("scalar: 2")), (0, true), "{output}");
    let (code, output) = run_to_end(&folder, &["query", "instant", &wrong, &url, "1+1"]);
    assert_eq!((code, output.contains("401")), (1, true), "{output}");
    for command in ["query", "health"] {
        let arguments: &[&str] =
            if command == "query" { &["query", "instant", &url, "1"] } else { &["health", "--url", &url] };
        let (code, output) = run_to_end(&folder, arguments);
        assert_eq!((code, output.contains("unknown authority")), (1, true), "{output}");
    }
    let (code, output) = promtool(&folder, &["query", "instant", &right, &url, "1+1"]);
    assert_eq!((code, output.contains("scalar: 2")), (0, true), "{output}");
}

#[test]
fn client_certificates_and_their_names() {
    let web = |more: &str| {
        format!(
            "tls_server_config: {{cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem, min_version: TLS12, {more}}}\n"
        )
    };
    let status = |outpost: &Outpost, with: bool| ask(outpost, None, with).map(|answer| answer.status);
    let cases = [
        ("client_auth_type: RequireAndVerifyClientCert", true, false),
        ("client_auth_type: VerifyClientCertIfGiven", true, true),
        ("client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [nobody]", false, false),
    ];
    for (more, with, without) in cases {
        let outpost = start(&web(more));
        let is_as_expected = || {
            let found = (status(&outpost, true) == Ok(200), status(&outpost, false) == Ok(200));
            (found == (with, without)).then_some(()).ok_or_else(|| format!("{more}: {found:?}"))
        };
        eventually(PATIENCE, "the right ones get in", is_as_expected);
    }
}

#[test]
fn web_configurations_are_checked() {
    let folder = tempfile::TempDir::new().unwrap();
    for name in ["server.pem", "server.key", "client.key"] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    let cases = [
        (users("secret"), "SUCCESS"),
        ("tls_server_config: {cert_file: server.pem, key_file: none.key}\n".to_owned(), "none.key"),
        ("tls_server_config: {cert_file: server.pem, key_file: client.key}\n".to_owned(), "do not fit"),
        ("tls_server_config: {cert_file: server.key, key_file: server.key}\n".to_owned(), "no certificate"),
        (
            "tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}\n"
                .to_owned(),
            "TLS_RSA_WITH_AES_128_CBC_SHA is not supported",
        ),
        (
            "tls_server_config: {cert_file: server.pem, key_file: server.key, curve_preferences: [CurveP521]}\n".to_owned(),
            "CurveP521 is not supported",
        ),
        ("basic_auth_users: {alice: secret}\n".to_owned(), "web.yml:1:20: basic_auth_users.alice"),
    ];
    for (web, expected) in cases {
        std::fs::write(folder.path().join("web.yml"), &web).unwrap();
        let (code, output) = run_to_end(folder.path(), &["check", "web-config", "web.yml"]);
        assert_eq!(code, i32::from(expected != "SUCCESS"), "{web}: {output}");
        assert!(output.contains(expected), "{web}: {output}");
        if code == 1 {
            let flags = ["--web.config.file=web.yml", "--web.listen-address=127.0.0.1:0"];
            let (code, output) = run_to_end(folder.path(), &flags);
            assert_eq!((code, output.contains(expected)), (1, true), "{web}: {output}");
        }
    }
}

fn promtool(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(program("promtool"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// Wrong passwords are refused at once after some, from one address.
#[test]
fn guessing_is_slowed_down() {
    let outpost = start(&users("secret"));
    eventually(PATIENCE, "it answers", || ask(&outpost, None, false));
    let statuses: Vec<u16> = (0..12).map(|_| ask(&outpost, OTHER, false).unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
    assert!(outpost.process.output().len() < 200_000, "and the log is not flooded");
}
