//! Signals to the primary: what each asks for, and what is said of it.

use std::time::Instant;

use super::step::Input;
use super::{Loop, Turn, status};
use crate::event::Signal;
use crate::report;

/// The signals that the primary lives by.
pub(super) const OWN_SIGNALS: [Signal; 8] = [
    Signal::TERM,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::TTIN,
    Signal::TTOU,
];

impl Loop {
    /// Those that have come.
    pub(super) fn signalled(&mut self) -> Turn {
        while let Some(number) = self.signals.next()? {
            let Some(signal) = Signal::from_raw(number) else { continue };
            self.callbacks.signalled(signal);
            // What a callback asked for comes first: a message to all, say, before they are told to go.
            self.obey()?;
            let input = match signal {
                Signal::TERM | Signal::INT => Input::Stop { signal: Some(signal) },
                Signal::QUIT => Input::StopNow { signal },
                Signal::HUP => Input::Reload,
                Signal::USR2 => Input::Upgrade,
                Signal::CHLD => {
                    self.strangers.stir(Instant::now());
                    continue;
                }
                Signal::USR1 => {
                    status::status().inspect(|status| report::block(format_args!("{status}")));
                    continue;
                }
                Signal::TTIN | Signal::TTOU => match self.scaled_by(signal) {
                    Some(workers) => Input::Scale { workers },
                    None => continue,
                },
                _ => continue,
            };
            match input {
                Input::Reload => self.tell_reload(),
                Input::Upgrade => {
                    report::info(format_args!("SIGUSR2: upgrading to the program that is on disk"));
                }
                Input::Scale { .. } => {}
                _ => self.tell_stop(signal),
            }
            self.step(input)?;
        }
        Ok(())
    }

    fn tell_stop(&self, signal: Signal) {
        let workers = self.fleet.members().count();
        if signal == Signal::QUIT || self.fleet.was_signalled() {
            report::warn(format_args!("{signal}: stopping now, {workers} workers are killed"));
            return;
        }
        let (within, first) = (self.settings.drain_timeout, self.settings.pre_drain);
        if first.is_zero() || self.fleet.is_told_to_stop() || !self.fleet.has_served() {
            report::info(format_args!("{signal}: stopping, {workers} workers have {within:?} to finish"));
        } else {
            report::info(format_args!(
                "{signal}: stopping in {first:?}; then {workers} workers have {within:?} to finish"
            ));
        }
    }

    /// Says what becomes of a SIGHUP.
    fn tell_reload(&self) {
        match self.fleet.reloading() {
            _ if self.fleet.is_told_to_stop() => {
                report::info(format_args!("SIGHUP: the cluster stops, nothing is reloaded"))
            }
            Some(generation) => {
                report::info(format_args!("SIGHUP: one more reload follows that of generation {generation}"))
            }
            None => report::info(format_args!(
                "SIGHUP: reloading, as soon as nobody is left who was replaced before"
            )),
        }
    }

    /// How many workers SIGTTIN or SIGTTOU asks for. One stays: a cluster is ended by other signals.
    fn scaled_by(&self, signal: Signal) -> Option<usize> {
        match (signal, self.fleet.target()) {
            (Signal::TTIN, workers) => Some(workers + 1),
            (_, 0 | 1) => {
                report::info(format_args!("{signal}: the last worker stays; SIGTERM ends the cluster"));
                None
            }
            (_, workers) => Some(workers - 1),
        }
    }
}
