//! What delivery shows of itself: `/api/v1/alertmanagers`.

/// Gives the present state of delivery.
pub trait AlertmanagersView: Send + Sync {
    /// URLs of the Alertmanagers in use (ending in `/api/v2/alerts`), sorted.
    fn active(&self) -> Vec<String>;

    /// URLs of those that relabeling dropped, sorted.
    fn dropped(&self) -> Vec<String>;
}
