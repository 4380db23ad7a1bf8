//! Whether the time of day can be trusted.

use super::host::Host;
use crate::commands::finding::Finding;

/// Programs that keep the clock, and how to have them do it; Debian installs one of them at a time.
const KEEPERS: [(&str, &str); 4] = [
    ("/usr/lib/systemd/systemd-timesyncd", "sudo timedatectl set-ntp true && timedatectl timesync-status"),
    ("/lib/systemd/systemd-timesyncd", "sudo timedatectl set-ntp true && timedatectl timesync-status"),
    ("/usr/sbin/chronyd", "sudo systemctl enable --now chrony && chronyc tracking"),
    ("/usr/sbin/ntpd", "sudo systemctl enable --now ntpsec && ntpq -p"),
];

/// `is_synchronised` is what the kernel says; `None` where it may not be asked.
pub fn look(host: &Host, is_synchronised: Option<bool>) -> Vec<Finding> {
    const SUBJECT: &str = "clock";
    const WHY: &str = "samples, alerts and certificates go by the time of day; a central Prometheus refuses samples \
                       that are ten minutes ahead of it";
    let has_battery = host.sys_folder("class/rtc").iter().any(|clock| has_battery(host, clock));
    let finding = match is_synchronised {
        Some(true) if has_battery => Finding::good(
            SUBJECT,
            "synchronised, and there is a hardware clock, which its battery keeps while the power is off",
        ),
        Some(true) => Finding::good(SUBJECT, "synchronised; without a battery it stands still while the power is off"),
        Some(false) => {
            let keeper = KEEPERS.iter().find(|(program, _)| host.has(program));
            let mend = keeper
                .map_or("sudo apt install systemd-timesyncd; on a NAS, switch NTP on in its settings", |(_, mend)| {
                    *mend
                });
            Finding::problem(SUBJECT, "not synchronised with any time server", WHY, mend)
        }
        None => Finding::warning(
            SUBJECT,
            "the kernel does not say whether it is synchronised",
            WHY,
            "run outpost doctor outside of the sandbox: sudo outpost doctor",
        ),
    };
    vec![finding]
}

/// The Raspberry Pi 5 has a clock and a place for its battery, and its driver says in microvolts what is there; others, whose
/// clocks say nothing, are built with one.
fn has_battery(host: &Host, clock: &str) -> bool {
    const PRESENT_MICROVOLTS: u32 = 1_000_000;
    let measured = host.sys(&format!("{clock}/battery_voltage")).and_then(|text| text.parse::<u32>().ok());
    measured.is_none_or(|microvolts| microvolts >= PRESENT_MICROVOLTS)
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::super::host::tests::made;
    use super::look;
    use crate::commands::finding::Severity;

    #[test]
    fn a_clock_that_nobody_keeps_is_a_problem() {
        let (_folder, pi) = made(&[("usr/lib/systemd/systemd-timesyncd", "")]);
        let (_other, pc) = made(&[("sys/class/rtc/rtc0/name", "rtc_cmos")]);
        let pi_5 = |microvolts| {
            made(&[("sys/class/rtc/rtc0/name", "rpi-rtc"), ("sys/class/rtc/rtc0/battery_voltage", microvolts)])
        };
        let one = |host: &Host, synchronised| look(host, synchronised).remove(0);
        assert_eq!(one(&pi, Some(true)).severity, Severity::Good);
        assert!(one(&pi, Some(true)).what.contains("without a battery"));
        assert!(one(&pc, Some(true)).what.contains("hardware clock"));
        assert!(one(&pi_5("23000\n").1, Some(true)).what.contains("without a battery"));
        assert!(one(&pi_5("3070082\n").1, Some(true)).what.contains("hardware clock"));
        assert_eq!(one(&pc, None).severity, Severity::Warning);
        let wrong = one(&pi, Some(false));
        assert_eq!(wrong.severity, Severity::Problem);
        assert!(wrong.mend.starts_with("sudo timedatectl"));
        let (_folder, chrony) = made(&[("usr/sbin/chronyd", "")]);
        assert!(one(&chrony, Some(false)).mend.ends_with("chronyc tracking"));
        assert!(one(&pc, Some(false)).mend.contains("apt install"));
    }
}
