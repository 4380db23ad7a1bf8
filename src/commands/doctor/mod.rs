//! `outpost doctor`: what is wrong with this box, why it matters, and the command that mends it.
//!
//! One file per subject. Each looks at files below `--path.procfs`, `--path.sysfs` and `--path.rootfs`, or is given what
//! the kernel says, and returns findings; nothing is changed. A command is shown for the person to run, never run.

mod account;
mod clock;
mod configuration;
mod containers;
mod disks;
mod host;
mod listener;
mod ping;
mod power;
mod rights;
mod service;
mod storage;
mod text_files;
mod unit;
mod ups;

use std::time::Duration;

use super::finding::{self, Finding};
use super::print;
use crate::cli::Doctor;
use crate::clock::read_kernel_clock;
use host::Host;

/// Looks at everything; whether nothing needs mending.
pub fn run(doctor: &Doctor) -> bool {
    let findings = look(doctor);
    let text = if doctor.as_json { finding::json(&findings) } else { finding::text(&findings) };
    print(&text);
    if !doctor.as_json {
        finding::tell_problems(&findings);
    }
    finding::problems(&findings) == 0
}

fn look(doctor: &Doctor) -> Vec<Finding> {
    let host = Host::new(&doctor.procfs, &doctor.sysfs, &doctor.rootfs);
    let (options, mistake) = service::options(doctor, &host);
    let mut findings: Vec<Finding> = mistake.into_iter().collect();
    findings.extend(clock::look(&host, read_kernel_clock().map(|clock| clock.is_synchronised())));
    findings.extend(power::look(&host));
    findings.extend(storage::look(&host, &options.storage_path, storage::room(&options.storage_path)));
    let (found, config) = configuration::look(&host, &options);
    findings.extend(found);
    findings.extend(containers::look(&host, config.as_ref()));
    if let Some(config) = &config {
        findings.extend(disks::look(&host, config));
        findings.extend(ups::look(config));
        findings.extend(text_files::look(&host, config));
        findings.extend(ping::look(&host, config));
    }
    findings.extend(listener::look(&host, &options));
    findings
}

/// Waits for something that is spoken to over the network. The error says what kept it.
fn within<T>(timeout: Duration, asked: impl Future<Output = T>) -> Result<T, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let answer = runtime.block_on(async { tokio::time::timeout(timeout, asked).await });
    answer.map_err(|_| format!("no answer in {} s", timeout.as_secs()))
}
