//! A site and its centrals, each central behind a link of its own.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::compare::{AllSamples, count, difference, samples};
use super::link::Link;
use super::support::{
    Outpost, PATIENCE, PageServer, Process, WrongClock, eventually, get, metric, program, query_value,
};

/// How far behind its newest sample a Prometheus without an out-of-order window takes samples: half its head's span.
pub const REACH: Duration = Duration::from_secs(3600);

/// The port on which the site is pulled and the central is asked, each at addresses of its own.
const PORT: u16 = 9090;

/// What the site's target sends all the time.
pub const PAGE: &str =
    "temperature_celsius{room=\"attic\"} 35.5\ntemperature_celsius{room=\"cellar\"} 12\nrequests_total 7\n";

const RULES: &str = "
groups:
  - name: site
    rules:
      - record: job:temperature:max
        expr: max by (job) (temperature_celsius)
      - alert: TooWarm
        expr: temperature_celsius > 30
";

/// What the centrals pull: raw series, recorded ones, alerts.
pub const MATCH: [&str; 3] = ["{job=\"house\"}", "{__name__=~\"job:.*\"}", "ALERTS"];

/// All of it in one selector, for the comparison.
pub const FEDERATED: &str =
    "{__name__=~\"temperature_celsius|requests_total|ended|up|scrape_.*|job:.*|ALERTS\",job!~\"federate.*\"}";

/// A site that is scraped every second.
pub struct Site {
    /// The outpost.
    pub outpost: Outpost,
    /// What it scrapes.
    pub target: PageServer,
    /// Its clock.
    pub clock: WrongClock,
}

impl Site {
    /// Serves the near ends of these links. Its clock is off by so many seconds.
    pub fn start(links: &[&Link], clock_seconds: i64) -> Self {
        Self::start_with(links, clock_seconds, "")
    }

    /// The same with more jobs.
    pub fn start_with(links: &[&Link], clock_seconds: i64, more_jobs: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = WrongClock::new(folder.path());
        clock.set(clock_seconds, true);
        std::fs::write(folder.path().join("rules.yml"), RULES).unwrap();
        let target = PageServer::start(PAGE);
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{site: garage}}}}\n\
             rule_files: [rules.yml]\n\
             scrape_configs:\n\
             \x20 - {{job_name: house, honor_labels: true, static_configs: [{{targets: ['{}']}}]}}\n{more_jobs}",
            target.address
        );
        let listen: Vec<String> =
            links.iter().map(|link| format!("--web.listen-address={}:{PORT}", link.near())).collect();
        let listen: Vec<&str> = listen.iter().map(String::as_str).collect();
        let runtime = folder.path().join("runtime");
        std::fs::create_dir(&runtime).unwrap();
        let mut environment = clock.environment().to_vec();
        environment.push(("RUNTIME_DIRECTORY", runtime.to_str().unwrap()));
        let outpost = Outpost::start_with_environment(folder, Some(&config), &listen, &environment);
        eventually(PATIENCE, "the site's rules", || query_value(&outpost.address, "job:temperature:max"));
        Self { outpost, target, clock }
    }

    /// Gives the target's page for one scrape, until `expr` gives at least `least`.
    pub fn scrape_once(&self, page: &str, expr: &str, least: f64) {
        self.target.set(page);
        eventually(PATIENCE, expr, || match query_value(&self.outpost.address, expr)? {
            value if value >= least => Ok(()),
            value => Err(format!("{value}")),
        });
        self.target.set(PAGE);
    }

    /// A figure of its own metrics, summed over its series.
    pub fn own(&self, name: &str) -> f64 {
        metric(&self.outpost.address, name).unwrap()
    }
}

/// How a central is set up.
pub struct Setting<'a> {
    /// Its name at the site.
    pub resync: &'a str,
    /// `storage.tsdb.out_of_order_time_window`, or nothing.
    pub window: &'a str,
    /// More of `params:`, such as `resync_order: [newest]`.
    pub params: &'a str,
    /// Seconds between scrapes; also their timeout.
    pub interval: u64,
    /// The program.
    pub program: &'a str,
    /// Where it pulls from instead of the link's near end.
    pub target: Option<String>,
    /// What it pulls.
    pub selectors: &'a [&'a str],
    /// A line more of the job.
    pub job: &'a str,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            resync: "home",
            window: "",
            params: "",
            interval: 1,
            program: "prometheus",
            target: None,
            selectors: &MATCH,
            job: "",
        }
    }
}

/// A stock Prometheus in a namespace.
pub struct Central<'a> {
    /// The way to the site.
    pub link: &'a Link,
    /// Where the test asks it.
    pub address: String,
    process: Process,
    folder: TempDir,
    program: String,
}

impl<'a> Central<'a> {
    /// Starts it and waits until it has pulled a few times.
    pub fn start(link: &'a Link, setting: &Setting<'_>) -> Self {
        let central = Self::start_unpulled(link, setting);
        central.wait_for_pulls();
        central
    }

    /// Starts it.
    pub fn start_unpulled(link: &'a Link, setting: &Setting<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("prometheus.yml"), configuration(link, setting)).unwrap();
        let process = launch(link, folder.path(), setting.program);
        let central = Self {
            link,
            address: format!("{}:{PORT}", link.aside()),
            process,
            folder,
            program: setting.program.to_owned(),
        };
        central.wait_until_ready();
        central
    }

    /// Ends it by a signal and starts it again.
    pub fn restart(&mut self, signal: &str) {
        self.process.signal(signal);
        self.process.wait();
        self.process = launch(self.link, self.folder.path(), &self.program);
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        eventually(PATIENCE, "the central is ready", || match get(&self.address, "/-/ready") {
            Ok(reply) if reply.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    /// Waits until it has pulled three times.
    pub fn wait_for_pulls(&self) {
        self.wait_for_pulls_of(3, PATIENCE);
    }

    /// Waits until it has pulled so many times.
    pub fn wait_for_pulls_of(&self, pulls: u64, time_max: Duration) {
        let query = format!("sum_over_time(up{{job=\"federate\"}}[{}s])", time_max.as_secs() + 600);
        eventually(time_max, "the central pulls", || match query_value(&self.address, &query)? {
            number if number >= pulls as f64 => Ok(()),
            number => Err(format!("{number}")),
        });
    }

    /// Cuts the link and waits until a scrape has failed.
    pub fn cut(&self) {
        self.link.cut();
        wait_for_failed_pull(&self.address);
    }

    /// Waits until the central has every sample of the site's series of `selector` up to now, and nothing else. What is older
    /// than `oldest` need not be there.
    pub fn check_complete(&self, site: &Site, selector: &str, oldest: Duration) -> Found {
        let until = now_ms();
        // The site's series have been read before the central's: what comes in meanwhile is too much there, and
        // known at the next look.
        eventually(PATIENCE * 2, "all is there", || self.compare(site, selector, until, oldest))
    }

    fn compare(&self, site: &Site, selector: &str, until: i64, oldest: Duration) -> Result<Found, String> {
        let expected = samples(&site.outpost.address, selector, "40h", until, "site")?;
        let selector = selector.replace('}', ",site=\"garage\"}");
        let there = samples(&self.address, &selector, "40h", until, "site")?;
        let reach = now_ms() - oldest.as_millis() as i64;
        difference(&expected, &there, reach)?;
        Ok(Found { site: expected, central: count(&there), until })
    }

    /// Samples that it has refused or dropped so far, by reason.
    pub fn refused(&self) -> Refused {
        // VictoriaMetrics refuses nothing and counts nothing.
        let is_counted = self.program != "victoria-metrics";
        let counted =
            |name: &str| metric(&self.address, &format!("prometheus_target_scrapes_sample_{name}_total")).unwrap();
        let of = |name: &str| if is_counted { counted(name) } else { 0.0 };
        Refused {
            out_of_order: of("out_of_order"),
            duplicate: of("duplicate_timestamp"),
            out_of_bounds: of("out_of_bounds"),
            lines: self.process.output().matches("Error on ingesting").count(),
        }
    }
}

/// What a comparison has seen.
pub struct Found {
    /// All of the site's samples.
    pub site: AllSamples,
    /// How many of them the central has.
    pub central: usize,
    /// Up to when both were compared.
    pub until: i64,
}

impl Found {
    /// How many samples the site has from a time on.
    pub fn since(&self, start_ms: i64) -> usize {
        self.site.values().map(|samples| samples.range(start_ms..).count()).sum()
    }
}

/// What a central has refused.
#[derive(Debug, PartialEq)]
pub struct Refused {
    pub out_of_order: f64,
    pub duplicate: f64,
    pub out_of_bounds: f64,
    /// Warning lines in its log.
    pub lines: usize,
}

impl Refused {
    /// Nothing.
    pub const NOTHING: Self = Self { out_of_order: 0.0, duplicate: 0.0, out_of_bounds: 0.0, lines: 0 };
}

/// Milliseconds since the epoch, by the machine's clock.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Waits until a pull of job `federate` has failed at the program of this address.
pub fn wait_for_failed_pull(address: &str) {
    eventually(PATIENCE, "a scrape fails", || match query_value(address, "up{job=\"federate\"}")? {
        0.0 => Ok(()),
        value => Err(format!("{value}")),
    });
}

fn configuration(link: &Link, setting: &Setting<'_>) -> String {
    let Setting { resync, params, interval, selectors, job, .. } = setting;
    let selectors: Vec<String> = selectors.iter().map(|selector| format!("'{selector}'")).collect();
    let target = setting.target.clone().unwrap_or_else(|| format!("{}:{PORT}", link.near()));
    let window = match setting.window {
        "" => String::new(),
        window => format!("storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n"),
    };
    let comma = if params.is_empty() { "" } else { ", " };
    format!(
        "global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}\n{window}\
         scrape_configs:\n\
         \x20 - job_name: federate\n    honor_labels: true\n    metrics_path: /federate\n\
         \x20   params: {{'match[]': [{}], resync: [{resync}]{comma}{params}}}\n\
         \x20   static_configs: [{{targets: ['{target}']}}]\n    {job}\n",
        selectors.join(", ")
    )
}

fn launch(link: &Link, folder: &Path, name: &str) -> Process {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &link.namespace]).arg(program(name)).current_dir(folder);
    if name == "victoria-metrics" {
        let listen = format!("-httpListenAddr=0.0.0.0:{PORT}");
        command.args(["-promscrape.config=prometheus.yml", "-storageDataPath=data", &listen]);
        // Samples are shown 30 s and more after they came otherwise.
        command.args(["-search.latencyOffset=0s", "-inmemoryDataFlushInterval=1s"]);
        return Process::start(name, &mut command);
    }
    command.args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=prometheus-data",
        &format!("--web.listen-address=0.0.0.0:{PORT}"),
        // When the first scrape comes after the start; 5 s otherwise.
        "--scrape.discovery-reload-interval=100ms",
    ]);
    Process::start(name, &mut command)
}
