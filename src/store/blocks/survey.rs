//! Who takes the room: series, samples and bytes per job.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::BuildHasher;
use std::rc::Rc;

use foldhash::fast::FixedState;
use rusqlite::OptionalExtension;

use super::part::{Directory, Entry, SeriesOf};
use super::{Blocks, Reading, names};
use crate::model::Labels;
use crate::store::StoreError;

/// What one job has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobShare {
    /// Distinct series over all blocks and the log.
    pub series: u64,
    /// Samples that are in the log only.
    pub log_samples: u64,
    /// Samples in blocks: a block knows its number, which is shared out by the rows of its segments.
    pub samples: f64,
    /// Bytes of them: segments, names and directories.
    pub bytes: f64,
}

/// Names as jobs: which job each series of a list has, and the bytes of the list.
struct Jobs {
    of: Vec<u32>,
    bytes: usize,
}

#[derive(Default)]
struct Survey {
    jobs: Vec<String>,
    shares: Vec<JobShare>,
    series: Vec<HashSet<u64, FixedState>>,
    lists: HashMap<i64, Rc<Jobs>, FixedState>,
}

/// A sample that stands for itself takes about this much: for segments whose rows are not known here.
const STRAY_BYTES_PER_SAMPLE: f64 = 4.0;

impl Blocks {
    /// Looks through all blocks; damaged pieces count nothing. What the log has besides is given: series and samples.
    pub fn survey(
        &self,
        in_log: &[(Labels, u64)],
        mut progress: impl FnMut(usize, usize),
    ) -> Result<BTreeMap<String, JobShare>, StoreError> {
        let reading = self.reader()?;
        let mut survey = Survey::default();
        in_log.iter().for_each(|(labels, samples)| survey.in_log(labels, *samples));
        let list = self.list();
        for (done, block) in list.iter().enumerate() {
            progress(done, list.len());
            let weights = survey.block(&reading, block.id).map_err(|error| self.error("read a block of", &error))?;
            let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
            for (job, weight) in weights {
                survey.shares[job].samples += block.samples as f64 * weight / total.max(1.0);
            }
        }
        progress(list.len(), list.len());
        Ok(survey.finish())
    }
}

impl Survey {
    fn in_log(&mut self, labels: &Labels, samples: u64) {
        let job = self.job(labels.get("job").unwrap_or(""));
        self.series[job].insert(FixedState::default().hash_one(labels));
        self.shares[job].log_samples += samples;
    }

    /// How the samples of a block are shared out among jobs.
    fn block(&mut self, reading: &Reading<'_>, block: i64) -> rusqlite::Result<Vec<(usize, f64)>> {
        let mut statement = reading.prepare("SELECT names, directory FROM part WHERE block = ?1")?;
        let rows = statement.query_map([block], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let mut weights: HashMap<usize, f64, FixedState> = HashMap::default();
        for row in rows {
            let (names, bytes) = row?;
            let jobs = self.jobs_of(reading, names)?;
            let Ok(directory) = Directory::decode(&bytes) else { continue };
            if let Some(first) = jobs.of.first() {
                self.shares[*first as usize].bytes += bytes.len() as f64;
            }
            for entry in &directory.entries {
                self.entry(entry, directory.times.len(), &jobs, &mut weights);
            }
        }
        Ok(weights.into_iter().collect())
    }

    fn entry(&mut self, entry: &Entry, rows: usize, jobs: &Jobs, weights: &mut HashMap<usize, f64, FixedState>) {
        let positions: Vec<u32> = match &entry.series {
            SeriesOf::Common { first, count } => (*first..first.saturating_add(*count)).collect(),
            SeriesOf::Stray(listed) => listed.clone(),
        };
        let bytes = f64::from(entry.len) / positions.len().max(1) as f64;
        let weight = match entry.series {
            SeriesOf::Common { .. } => rows as f64,
            SeriesOf::Stray(_) => (bytes / STRAY_BYTES_PER_SAMPLE).max(1.0),
        };
        for job in positions.iter().filter_map(|position| jobs.of.get(*position as usize)) {
            self.shares[*job as usize].bytes += bytes;
            *weights.entry(*job as usize).or_default() += weight;
        }
    }

    fn jobs_of(&mut self, reading: &Reading<'_>, id: i64) -> rusqlite::Result<Rc<Jobs>> {
        if let Some(jobs) = self.lists.get(&id) {
            return Ok(Rc::clone(jobs));
        }
        let query = "SELECT bytes FROM names WHERE id = ?1";
        let bytes: Vec<u8> = reading.query_row(query, [id], |row| row.get(0)).optional()?.unwrap_or_default();
        let mut jobs = Jobs { of: Vec::new(), bytes: bytes.len() };
        let hasher = FixedState::default();
        // A damaged list has no series here; verifying names it.
        let _ = names::decode(&bytes, |_, pairs| {
            let job = pairs.iter().find(|(name, _)| *name == "job").map_or("", |(_, value)| *value);
            let job = self.job(job);
            self.series[job].insert(hasher.hash_one(Labels::from_sorted(pairs.iter().copied())));
            jobs.of.push(job as u32);
        });
        if let Some(first) = jobs.of.first() {
            self.shares[*first as usize].bytes += jobs.bytes as f64;
        }
        let jobs = Rc::new(jobs);
        self.lists.insert(id, Rc::clone(&jobs));
        Ok(jobs)
    }

    fn job(&mut self, name: &str) -> usize {
        self.jobs.iter().position(|job| job == name).unwrap_or_else(|| {
            self.jobs.push(name.to_owned());
            self.shares.push(JobShare::default());
            self.series.push(HashSet::default());
            self.jobs.len() - 1
        })
    }

    fn finish(mut self) -> BTreeMap<String, JobShare> {
        for (share, series) in self.shares.iter_mut().zip(&self.series) {
            share.series = series.len() as u64;
        }
        self.jobs.into_iter().zip(self.shares).collect()
    }
}
