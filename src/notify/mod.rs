//! Delivery of alerts to Alertmanagers: bounded queue, retry, drop counter.

mod endpoint;
mod fleet;
mod http_post;
mod notifier;
mod payload;
mod queue;
mod settings;
mod status;
mod waiting;

pub use endpoint::{BATCH_ALERTS_MAX, QUEUE_CAPACITY};
pub use notifier::{Notifier, NotifyError};
pub use settings::{AlertmanagerSettings, NotifySettings};
pub use status::AlertmanagersView;
pub use waiting::WaitingFile;
