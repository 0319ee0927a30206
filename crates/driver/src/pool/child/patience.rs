//! The difference between a child that hangs and one that is slow.

use std::time::Duration;

use onionweave_control::{CloseReason, Error as ControlError};

/// Longest silence, in seconds, after which a Tor is asked once more on another connection.
///
/// The services' own heartbeats notice it far earlier, and give its slots to others. This is only
/// about its process.
pub(super) const HUNG_AFTER: Duration = Duration::from_secs(30);
/// Longest time, in seconds, that a Tor may take to let the pool in after it was silent.
const LET_IN_WITHIN: Duration = Duration::from_secs(5);

/// Meaning of the end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The child answers nobody.
    Hung,
    /// The child answers, and refuses what the pool needs.
    Refused,
    /// Nothing is proved, and the next connection may do better.
    Anew,
}

/// Patience with one child.
///
/// A process is killed for silence alone, never for a slow answer: a Tor that missed one deadline
/// may have been busy, so it is reached for once more. A Tor that has just been started is not
/// judged at all, since the machine says how long a start may take.
#[derive(Debug)]
pub(super) struct Patience {
    /// The child has answered before, or ran before this publisher did.
    answers: bool,
    /// The last question was left without an answer.
    silent: bool,
}

impl Patience {
    pub(super) const fn new(adopted: bool) -> Self {
        Self {
            answers: adopted,
            silent: false,
        }
    }

    /// Returns the time that the next connection may take.
    pub(super) const fn connect_within(&self) -> Duration {
        if self.silent { LET_IN_WITHIN } else { HUNG_AFTER }
    }

    /// Takes note of a question that was answered.
    pub(super) const fn answered(&mut self) {
        self.answers = true;
        self.silent = false;
    }

    /// Judges the end of a conversation, or of an attempt to begin one.
    pub(super) fn judge(&mut self, error: &ControlError) -> Verdict {
        match error {
            ControlError::Rejected { .. } | ControlError::Argument { .. } => Verdict::Refused,
            error if is_silence(error) && self.answers => {
                if std::mem::replace(&mut self.silent, true) {
                    Verdict::Hung
                } else {
                    Verdict::Anew
                }
            }
            _ => Verdict::Anew,
        }
    }
}

/// Whether nothing at all came. A deadline beyond the longest silence is that of a whole answer,
/// part of which did come.
fn is_silence(error: &ControlError) -> bool {
    match error {
        // It listens, or did when it was stopped.
        ControlError::ConnectDeadline { .. } => true,
        ControlError::Deadline { after, .. } | ControlError::Closed(CloseReason::Deadline { after, .. }) => {
            *after <= HUNG_AFTER
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::scripted::{Answer, answering};

    /// The error that a question ends in.
    async fn error(answer: Answer) -> ControlError {
        let options = onionweave_control::Options::default().command_deadline(HUNG_AFTER);
        let tor = answering(answer, &options).await.unwrap();
        tor.get_info("version").await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_when_it_is_repeated_and_nothing_else_does() {
        let silence = error(Answer::Never).await;
        let mut patience = Patience::new(true);
        assert_eq!(patience.judge(&silence), Verdict::Anew, "it may have been busy");
        assert_eq!(patience.connect_within(), LET_IN_WITHIN);
        // It lets the pool in, answers, and is busy once more.
        patience.answered();
        assert_eq!(patience.connect_within(), HUNG_AFTER);
        assert_eq!(patience.judge(&silence), Verdict::Anew);
        // It does not even let the pool in.
        let options = onionweave_control::Options::default().connect_deadline(patience.connect_within());
        let shut_out = answering(Answer::Shut, &options).await.unwrap_err();
        assert_eq!(patience.judge(&shut_out), Verdict::Hung, "{shut_out}");

        let mut patience = Patience::new(true);
        for _ in 0..3 {
            let slow = error(Answer::Drip(HUNG_AFTER / 2)).await;
            assert_eq!(patience.judge(&slow), Verdict::Anew, "bytes kept coming: {slow}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn child_that_starts_is_left_to_the_machine() {
        let silence = error(Answer::Never).await;
        let mut patience = Patience::new(false);
        for _ in 0..3 {
            assert_eq!(patience.judge(&silence), Verdict::Anew);
        }
        patience.answered();
        assert_eq!(patience.judge(&silence), Verdict::Anew);
        assert_eq!(patience.judge(&silence), Verdict::Hung);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_and_ends_are_no_silence() {
        let refused = error(Answer::Text("552 Unrecognized key \"version\"\r\n")).await;
        let mut patience = Patience::new(true);
        assert_eq!(patience.judge(&refused), Verdict::Refused);
        let ended = error(Answer::HangUp).await;
        for _ in 0..3 {
            assert_eq!(patience.judge(&ended), Verdict::Anew, "{ended}");
        }
    }
}
