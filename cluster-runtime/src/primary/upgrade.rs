//! An upgrade in place: another program in this process, and its workers beside the old ones. Pure.
//!
//! ```text
//!            old image                                new image
//! Wanted ─▶ Checking ─▶ Quiet ─▶ Executing ═══exec═══▶ Proving: a roll ─▶ done
//!    └─refused──┴─unfit───┴──late───┴─failed─▶ as before   └─failed─▶ GoingBack
//!            Returned: a roll ◀══════════════════exec══════════════════┘
//! ```
//!
//! What the new image does to prove itself is a reload's roll, and so is what the old one does that is back: this decides when
//! one program may take the place of the other, and what then becomes of the fleet. Between that decision and the exec nobody
//! is born: a birth that is under way then would be nobody's.

use std::time::{Duration, Instant};

use super::slot::{Id, Member};
use super::step::{Effect, Fleet};
use crate::reload::ReloadFailure;
use crate::upgrade::{Upgrade, UpgradeFailure};

/// What is known of upgrades: at most one is under way.
#[derive(Debug, Default)]
pub(super) struct Upgrades {
    pub(super) under_way: Option<UnderWay>,
    /// Births that wait until it is known which image they are of. They are members already.
    pub(super) postponed: Vec<Id>,
}

#[derive(Debug)]
pub(super) struct UnderWay {
    /// That which it is to make; given when it begins, so 0 while it waits.
    pub(super) generation: u64,
    pub(super) began: Instant,
    pub(super) stage: Stage,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It waits for a reload that runs, and for one that was wanted before it.
    Wanted { behind: bool },
    /// The program on disk is asked whether it can take over.
    Checking { until: Instant },
    /// It can. Births that were asked for are waited for.
    Quiet { until: Instant },
    /// The exec was asked for. It returns only if it failed.
    Executing,
    /// This is the new image. `before`: the generation in force in the old one; `workers`: what was configured there.
    Proving { before: u64, workers: Option<usize> },
    /// It has failed: as soon as no birth is under way, the old image is to go on.
    GoingBack { before: u64, workers: Option<usize>, why: UpgradeFailure, until: Instant },
    /// This is the old image again, and that is still to be told.
    Returned { why: UpgradeFailure },
}

impl Upgrades {
    /// Whether nobody is to be born now: it may be the other image's to do.
    pub(super) fn postpone_births(&self) -> bool {
        let stage = self.under_way.as_ref().map(|upgrade| &upgrade.stage);
        matches!(stage, Some(Stage::Quiet { .. } | Stage::Executing | Stage::GoingBack { .. }))
    }

    /// Whether no reload may begin.
    pub(super) fn hold_reloads(&self) -> bool {
        let behind = |upgrade: &UnderWay| matches!(upgrade.stage, Stage::Wanted { behind: true });
        self.under_way.as_ref().is_some_and(|upgrade| !behind(upgrade))
    }

    /// The reload that was wanted before it has begun.
    pub(super) fn come_next(&mut self) {
        if let Some(UnderWay { stage: Stage::Wanted { behind }, .. }) = &mut self.under_way {
            *behind = false;
        }
    }

    /// The next moment at which something is decided if nothing else is heard.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.under_way.as_ref()?.stage {
            Stage::Checking { until } | Stage::Quiet { until } | Stage::GoingBack { until, .. } => {
                Some(until)
            }
            _ => None,
        }
    }
}

impl Fleet {
    /// Whether one is under way, however far.
    pub(crate) fn is_upgrading(&self) -> bool {
        self.upgrades.under_way.is_some()
    }

    /// Whether [`Input::Quiet`](super::step::Input::Quiet) would have an image executed: nobody's birth is under way.
    pub(crate) fn awaits_quiet(&self) -> bool {
        let stage = self.upgrades.under_way.as_ref().map(|upgrade| &upgrade.stage);
        matches!(stage, Some(Stage::Quiet { .. } | Stage::GoingBack { .. }))
            && self.births_under_way().next().is_none()
    }

    fn births_under_way(&self) -> impl Iterator<Item = Id> {
        let asked_for = |id: &Id| !self.upgrades.postponed.contains(id);
        self.members.iter().filter(|(_, member)| !member.exists).map(|(id, _)| *id).filter(asked_for)
    }

    pub(super) fn want_upgrade(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let busy = match &self.upgrades.under_way {
            Some(UnderWay { stage: Stage::Wanted { .. }, .. }) => Some("one is waiting already".to_owned()),
            Some(UnderWay { generation, .. }) => {
                Some(format!("that to generation {generation} is under way"))
            }
            None if !self.has_served() => Some("no worker has been ready yet".to_owned()),
            None => None,
        };
        if let Some(why) = busy.filter(|_| !self.is_stopping()) {
            return self.refuse_upgrade(UpgradeFailure::Busy(why), out);
        }
        let stage = Stage::Wanted { behind: self.reloads.wanted };
        self.upgrades.under_way = Some(UnderWay { generation: 0, began: now, stage });
    }

    fn refuse_upgrade(&mut self, why: UpgradeFailure, out: &mut Vec<Effect>) {
        self.reloads.last += 1;
        let generation = self.reloads.last;
        out.push(Effect::Upgraded(Upgrade { generation, took: Duration::ZERO, failure: Some(why) }));
    }

    /// Begins the one that waits, if it may: as a reload, not while somebody is left over of one before.
    pub(super) fn begin_upgrade(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.is_over() {
            // Everybody was told to leave, and nobody is left to go on with.
            return self.end_upgrade(Some(UpgradeFailure::Stopped), now, out);
        }
        if self.reloading().is_some() || self.somebody_is_left_over() {
            return;
        }
        let Some(upgrade) = &mut self.upgrades.under_way else { return };
        if !matches!(upgrade.stage, Stage::Wanted { .. }) {
            return;
        }
        self.reloads.last += 1;
        upgrade.generation = self.reloads.last;
        upgrade.stage = Stage::Checking { until: now + self.rules.startup_timeout };
        out.push(Effect::Check);
    }

    /// What the program on disk has answered; or why it has not.
    pub(super) fn checked(&mut self, answer: Result<(), String>, now: Instant, out: &mut Vec<Effect>) {
        let Some(UnderWay { stage: stage @ Stage::Checking { .. }, .. }) = &mut self.upgrades.under_way
        else {
            return;
        };
        match answer {
            Ok(()) => *stage = Stage::Quiet { until: now + self.rules.startup_timeout },
            Err(why) => self.end_upgrade(Some(UpgradeFailure::Check(why)), now, out),
        }
    }

    /// Nothing is half done: now one image may take the place of the other.
    pub(super) fn quiet(&mut self, out: &mut Vec<Effect>) {
        if !self.awaits_quiet() {
            return;
        }
        let Some(upgrade) = &mut self.upgrades.under_way else { return };
        match &upgrade.stage {
            Stage::GoingBack { why, .. } => out.push(Effect::GoBack { why: why.clone() }),
            _ => {
                upgrade.stage = Stage::Executing;
                out.push(Effect::Exec);
            }
        }
    }

    /// The exec has failed, and this image goes on.
    pub(super) fn not_executed(&mut self, why: String, now: Instant, out: &mut Vec<Effect>) {
        let Some(upgrade) = &self.upgrades.under_way else { return };
        match &upgrade.stage {
            Stage::Executing => self.end_upgrade(Some(UpgradeFailure::Exec(why)), now, out),
            // There is no way back: the new image serves, with whoever does.
            Stage::GoingBack { why, .. } => self.end_upgrade(Some(why.clone()), now, out),
            _ => {}
        }
    }

    /// This is another image than the one that saved the fleet.
    pub(super) fn resume(&mut self, now: Instant, out: &mut Vec<Effect>) {
        // Not asked for where the upgrade ends here, but below: of this image's generation, and when there is what it needs.
        let postponed = std::mem::take(&mut self.upgrades.postponed);
        let Some(upgrade) = &self.upgrades.under_way else { return };
        match &upgrade.stage {
            Stage::Proving { .. } => out.push(Effect::Proving { generation: upgrade.generation }),
            Stage::Returned { why } => {
                let why = why.clone();
                self.end_upgrade(Some(why), now, out);
                out.push(Effect::Returning { generation: self.reloads.current });
            }
            _ => {}
        }
        // Whenever they were asked for: this is the program that they will run.
        let generation = self.reloads.current;
        for id in &postponed {
            if let Some(member) = self.members.get_mut(id) {
                member.generation = generation;
            }
        }
        self.upgrades.postponed = postponed;
        self.give_birth(out);
    }

    /// What is late.
    pub(super) fn tick_upgrade(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.upgrades.deadline().is_none_or(|until| until > now) {
            return;
        }
        let waited = self.rules.startup_timeout;
        let late = match self.upgrades.under_way.as_ref().map(|upgrade| &upgrade.stage) {
            Some(Stage::Checking { .. }) => {
                UpgradeFailure::Check(format!("no answer within {waited:?} (startup_timeout)"))
            }
            Some(Stage::Quiet { .. }) => {
                let unborn: Vec<_> = self.births_under_way().map(|id| id.0.to_string()).collect();
                let unborn = unborn.join(", ");
                UpgradeFailure::Busy(format!(
                    "workers {unborn} were not born within {waited:?} (startup_timeout)"
                ))
            }
            Some(Stage::GoingBack { .. }) => {
                // They are the old image's to bring into the world.
                let unborn: Vec<_> = self.births_under_way().collect();
                self.upgrades.postponed.extend(unborn);
                if let Some(UnderWay { stage: Stage::GoingBack { until, .. }, .. }) =
                    &mut self.upgrades.under_way
                {
                    *until = now + waited;
                }
                return;
            }
            _ => return,
        };
        self.end_upgrade(Some(late), now, out);
    }

    /// The roll of the new image is over.
    pub(super) fn proved(&mut self, failure: Option<ReloadFailure>, now: Instant, out: &mut Vec<Effect>) {
        let Some(UnderWay { generation, stage, .. }) = &mut self.upgrades.under_way else { return };
        let Stage::Proving { before, workers } = *stage else { return };
        match failure.map(UpgradeFailure::from) {
            None => {
                if workers.is_some_and(|workers| workers != self.configured) {
                    // Another number than the old program named.
                    self.scale(self.configured, now, out);
                }
                self.end_upgrade(None, now, out);
            }
            Some(UpgradeFailure::Stopped) => self.end_upgrade(Some(UpgradeFailure::Stopped), now, out),
            Some(why) => {
                let until = now + self.rules.startup_timeout;
                *stage = Stage::GoingBack { before, workers, why, until };
                out.push(Effect::Retire { generation: *generation });
            }
        }
    }

    /// The stop wins over whatever is under way.
    pub(super) fn stop_upgrade(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.end_upgrade(Some(UpgradeFailure::Stopped), now, out);
    }

    /// Ends it, if one is under way, in this image: tells of it, and has those born who waited for that.
    fn end_upgrade(&mut self, failure: Option<UpgradeFailure>, now: Instant, out: &mut Vec<Effect>) {
        let Some(UnderWay { mut generation, began, .. }) = self.upgrades.under_way.take() else { return };
        if generation == 0 {
            self.reloads.last += 1;
            generation = self.reloads.last;
        }
        let took = now.saturating_duration_since(began);
        out.push(Effect::Upgraded(Upgrade { generation, took, failure }));
        self.give_birth(out);
    }

    /// Asks for the births that were postponed. Who is not wanted any more is not to be.
    fn give_birth(&mut self, out: &mut Vec<Effect>) {
        for id in std::mem::take(&mut self.upgrades.postponed) {
            let Some(&Member { slot, generation, asked, .. }) = self.members.get(&id) else { continue };
            out.push(match asked {
                true => Effect::NotToBe { id },
                false => Effect::Spawn { id, slot, generation },
            });
        }
    }
}

#[cfg(test)]
#[path = "upgrade_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "upgrade_properties.rs"]
mod properties;
