//! Panics of tasks.

use tokio::task::JoinError;

/// Spreads a task's panic to this one, since the work of that task is not done any more. Returns
/// the outcome of a task that ended by itself; `None` for one that was aborted.
pub(super) fn spread_panic<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(outcome) => Some(outcome),
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(_)) => None,
    }
}
