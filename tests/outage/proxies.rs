//! Reverse proxies before the site: connections to outpost are then the proxy's, and prove nothing of the central's reading.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::faults::{check_since, outage};
use super::link::Link;
use super::scene::{Central, Setting, Site, now_ms};
use super::support::{PATIENCE, Process, eventually, get, program};
use super::together;

/// Where the proxies listen at the near end of the link.
const PORT: u16 = 9091;

#[test]
fn nothing_is_missing_behind_a_proxy() {
    together(&[
        ("nginx as it comes", || check("nginx as it comes", |address, site, folder| nginx(address, site, "", folder))),
        ("nginx that keeps connections", || {
            let settings = "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header X-Forwarded-For $remote_addr;";
            check("nginx that keeps connections", |address, site, folder| nginx(address, site, settings, folder));
        }),
        ("caddy", || check("caddy", caddy)),
    ]);
}

fn check(what: &str, start: impl FnOnce(&str, &str, &Path) -> Process) {
    let Some(link) = Link::new() else { return };
    let site = Site::start(&[&link], 0);
    let folder = TempDir::new().unwrap();
    let address = format!("{}:{PORT}", link.near());
    let _proxy = start(&address, &site.outpost.address, folder.path());
    eventually(PATIENCE, what, || get(&address, "/-/ready"));
    let began = now_ms();
    let central = Central::start(&link, &Setting { target: Some(address), ..Setting::default() });
    std::thread::sleep(outage());
    check_since(began, &site, &central, &format!("{what}, steady"));
    let status = get(&site.outpost.address, "/api/v1/status/resync").unwrap().body;
    assert!(status.contains("\"receipt\":\"assumed\""), "{what}: {status}");
    central.cut();
    std::thread::sleep(outage());
    central.link.join();
    check_since(began, &site, &central, &format!("{what}, after an outage"));
}

fn nginx(address: &str, site: &str, settings: &str, folder: &Path) -> Process {
    let config = format!(
        "daemon off; master_process off; pid {0}/pid; error_log stderr;\nevents {{}}\n\
         http {{\n  access_log off;\n  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;\n\
         \x20 uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n  upstream site {{ server {site}; keepalive 4; }}\n\
         \x20 server {{ listen {address}; location / {{ proxy_pass http://site; proxy_set_header Host $host; {settings} }} }}\n}}\n",
        folder.display()
    );
    std::fs::write(folder.join("nginx.conf"), config).unwrap();
    let mut command = Command::new(program("nginx"));
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    Process::start("nginx", &mut command)
}

fn caddy(address: &str, site: &str, folder: &Path) -> Process {
    let (host, port) = address.split_once(':').unwrap();
    let site_block = format!("http://:{port} {{\n\tbind {host}\n\treverse_proxy {site}\n}}\n");
    let config = format!("{{\n\tadmin off\n\tauto_https off\n}}\n{site_block}");
    std::fs::write(folder.join("Caddyfile"), config).unwrap();
    let mut command = Command::new(program("caddy"));
    command.current_dir(folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
    Process::start("caddy", command.args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"]))
}
