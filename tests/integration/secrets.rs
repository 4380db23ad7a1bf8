//! A secret in every field that holds one appears on no route, in no log line, in no metric.

use super::support::{
    Ask, Outpost, PATIENCE, PageServer, WebhookServer, eventually, exchange_tls, fixture, run_to_end,
};

/// Every path that answers a GET.
const ROUTES: &[&str] = &[
    "/",
    "/metrics",
    "/federate?match[]={__name__=~\".*\"}",
    "/-/healthy",
    "/-/ready",
    "/api/v1/query?query={__name__=~\".%2B\"}",
    "/api/v1/query_range?query=up&start=0&end=1&step=1",
    "/api/v1/query_exemplars?query=up",
    "/api/v1/series?match[]={__name__=~\".%2B\"}",
    "/api/v1/labels",
    "/api/v1/label/__name__/values",
    "/api/v1/label/instance/values",
    "/api/v1/metadata",
    "/api/v1/targets",
    "/api/v1/targets/metadata",
    "/api/v1/scrape_pools",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/status/config",
    "/api/v1/status/flags",
    "/api/v1/status/runtimeinfo",
    "/api/v1/status/buildinfo",
    "/api/v1/status/tsdb",
    "/api/v1/status/resync",
    "/no/such/path",
];

const RULES: &str = "groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: vector(1)}]}]\n";

/// `WORD-N` for every `@`, so that each secret is one of its own.
fn numbered(text: &str) -> (String, Vec<String>) {
    let mut parts = text.split('@');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    let mut secrets = Vec::new();
    for part in parts {
        let secret = format!("canary{:02}secret", secrets.len());
        filled.push_str(&secret);
        filled.push_str(part);
        secrets.push(secret);
    }
    (filled, secrets)
}

/// A line out of the middle of a PEM text.
fn line_of(pem: &str) -> String {
    pem.lines().nth(2).unwrap().to_owned()
}

fn indented(pem: &str, indent: usize) -> String {
    pem.lines().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}

#[test]
fn no_secret_shows_anywhere() {
    let page = PageServer::start("metric 1\n");
    let alertmanager = WebhookServer::start();
    let key = std::fs::read_to_string(fixture("client.key")).unwrap();
    let template = include_str!("secrets/site.yml");
    let (config, mut secrets) = numbered(template);
    assert!(secrets.len() > 25, "{}", secrets.len());
    let config = config
        .replace("ATSIGN", "@")
        .replace("PAGE", &page.address)
        .replace("ALERTMANAGER", &alertmanager.address)
        .replace("        KEY\n", &indented(&key, 8));
    secrets.push(line_of(&key));

    let folder = tempfile::TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    for name in ["password", "token", "client-secret", "header"] {
        let secret = format!("canary-of-file-{name}");
        write(&format!("{name}.txt"), &secret);
        secrets.push(secret);
    }
    for name in ["server.pem", "client.pem", "ca.pem"] {
        std::fs::copy(fixture(name), folder.path().join(name)).unwrap();
    }
    write("rules.yml", RULES);
    let own_key = std::fs::read_to_string(fixture("server.key")).unwrap();
    let hash = bcrypt::hash("canary-of-user", 4).unwrap();
    write(
        "web.yml",
        &format!(
            "tls_server_config:\n  cert_file: server.pem\n  key: |\n{}basic_auth_users: {{alice: '{hash}'}}\n",
            indented(&own_key, 4)
        ),
    );
    secrets.extend([line_of(&own_key), hash, "canary-of-user".to_owned(), "YWxpY2U6Y2FuYXJ5LW9mLXVzZXI".to_owned()]);

    let flags = ["--web.config.file=web.yml", "--log.level=debug", "--web.external-url=https://localhost/"];
    let outpost = Outpost::start_guarded(folder, &config, &flags);
    let get = |path: &str, credentials: &str| {
        let headers = vec![("Authorization".to_owned(), format!("Basic {credentials}"))];
        let ask = Ask {
            method: "GET".to_owned(),
            target: path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22"),
            headers,
            body: None,
        };
        exchange_tls(&outpost.address, &ask, false)
    };
    // alice:canary-of-user
    let right = "YWxpY2U6Y2FuYXJ5LW9mLXVzZXI=";
    eventually(PATIENCE, "all jobs were tried", || {
        let targets = get("/api/v1/targets", right)?.text();
        (targets.contains("\"activeTargets\":[{") && !targets.contains("\"health\":\"unknown\""))
            .then_some(())
            .ok_or(targets)
    });
    eventually(PATIENCE, "an alert was sent", || {
        (!alertmanager.bodies().is_empty()).then_some(()).ok_or_else(|| "none".to_owned())
    });
    let mut shown = vec![("the log".to_owned(), String::new())];
    for path in ROUTES {
        shown.push(((*path).to_owned(), get(path, right).unwrap().text()));
        shown.push((format!("{path} without a password"), get(path, "YWxpY2U6d3Jvbmc=").unwrap().text()));
    }
    let config = shown.iter().find(|(path, _)| path == "/api/v1/status/config").unwrap();
    assert!(config.1.matches("u003csecret").count() > 15, "the secrets' places are there: {}", config.1);
    let (_, printed) =
        run_to_end(&outpost.folder(), &["print-config", "--config.file=outpost.yml", "--web.config.file=web.yml"]);
    assert!(printed.contains("<secret>"), "{printed}");
    shown.push(("print-config".to_owned(), printed));
    let (_, checked) = run_to_end(&outpost.folder(), &["check", "config", "outpost.yml"]);
    shown.push(("check config".to_owned(), checked));
    shown[0].1 = outpost.process.output();
    assert!(shown[0].1.contains("level=INFO"), "there is a log");
    let mut leaks = Vec::new();
    for (place, text) in &shown {
        leaks.extend(secrets.iter().filter(|secret| text.contains(*secret)).map(|secret| format!("{place}: {secret}")));
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
}
