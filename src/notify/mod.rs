//! Delivery of alerts to Alertmanagers: bounded queue, retry, drop counter.

mod settings;
mod status;

pub use settings::{AlertmanagerSettings, NotifySettings};
pub use status::AlertmanagersView;
