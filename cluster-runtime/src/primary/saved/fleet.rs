//! The fleet as it is saved: what it is of, with every moment told as the time since or until then. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::heart::Hearts;
use super::super::heart::saved::SavedHeart;
use super::super::reload::{Reloads, Roll, Running};
use super::super::slot::{self, Id};
use super::super::step::{self, Failure, Ids, Rules};
use super::super::supervise::{Deaths, Streak};
use super::super::upgrade::{Stage, UnderWay, Upgrades};
use super::words::{self, Exit};
use crate::ipc::message::Wear;
use crate::upgrade::UpgradeFailure;

/// All workers, and what is to become of them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Fleet {
    last_id: u64,
    slots: Vec<Slot>,
    members: Vec<Member>,
    /// The unproven deaths of late: how long ago each was.
    deaths: Vec<Duration>,
    /// In force where the upgrade began: what is gone back to if it fails.
    generation: u64,
    last_generation: u64,
    reload_wanted: bool,
    has_served: bool,
    /// What is told if nobody is left in the end.
    nobody_left: Option<Exit>,
    upgrade: Option<Upgrade>,
    /// How many workers the settings named where the upgrade began; since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    workers: Option<usize>,
    /// Of whom signs of life are to be heard; since version 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hearts: Vec<SavedHeart>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Slot {
    holder: Option<u64>,
    refill: Option<Due>,
    streak: u32,
    /// Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recycle: Option<Due>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Member {
    id: u64,
    slot: usize,
    generation: u64,
    life: Life,
    age: Duration,
    exists: bool,
    asked: bool,
    replaced: bool,
    online: bool,
    connected: bool,
    proven: bool,
    first: bool,
    /// Since version 2, like all that follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    stalled: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    said: String,
    /// How long ago it was said, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worn: Option<(Duration, Wear)>,
}

/// As in `slot.rs`; `ready` is how long ago it was.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Life {
    Unborn,
    Starting { ready_by: Due },
    Online { ready_by: Due },
    Ready { ready: Duration },
    Draining { kill_at: Due, ready: Option<Duration>, told: bool },
    Killed { ready: Option<Duration>, overdue: bool },
}

/// A deadline, which may have passed and not been looked at.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
enum Due {
    In(Duration),
    Since(Duration),
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Upgrade {
    generation: u64,
    took: Duration,
    /// It has failed, and the image before goes on.
    failed: Option<words::Failure>,
}

/// The moment that everything else is told from.
#[derive(Clone, Copy)]
struct Now(Instant);

impl Now {
    fn ago(self, at: Instant) -> Duration {
        self.0.saturating_duration_since(at)
    }

    fn due(self, at: Instant) -> Due {
        match at.checked_duration_since(self.0) {
            Some(left) => Due::In(left),
            None => Due::Since(self.ago(at)),
        }
    }

    fn before(self, ago: Duration) -> Result<Instant, String> {
        self.0.checked_sub(ago).ok_or_else(|| format!("the state tells of a moment {ago:?} ago"))
    }

    fn at(self, due: Due) -> Result<Instant, String> {
        match due {
            Due::Since(ago) => self.before(ago),
            Due::In(left) => self
                .0
                .checked_add(left)
                .ok_or_else(|| format!("the state tells of a moment {left:?} from now")),
        }
    }

    fn save(self, life: slot::Life) -> Life {
        match life {
            slot::Life::Unborn => Life::Unborn,
            slot::Life::Starting { ready_by } => Life::Starting { ready_by: self.due(ready_by) },
            slot::Life::Online { ready_by } => Life::Online { ready_by: self.due(ready_by) },
            slot::Life::Ready { since } => Life::Ready { ready: self.ago(since) },
            slot::Life::Draining { kill_at, ready, told } => {
                let ready = ready.map(|ready| self.ago(ready));
                Life::Draining { kill_at: self.due(kill_at), ready, told }
            }
            slot::Life::Killed { ready, overdue } => {
                Life::Killed { ready: ready.map(|ready| self.ago(ready)), overdue }
            }
        }
    }

    fn restore(self, life: Life) -> Result<slot::Life, String> {
        let since = |ready: Option<Duration>| ready.map(|ready| self.before(ready)).transpose();
        Ok(match life {
            Life::Unborn => slot::Life::Unborn,
            Life::Starting { ready_by } => slot::Life::Starting { ready_by: self.at(ready_by)? },
            Life::Online { ready_by } => slot::Life::Online { ready_by: self.at(ready_by)? },
            Life::Ready { ready } => slot::Life::Ready { since: self.before(ready)? },
            Life::Draining { kill_at, ready, told } => {
                slot::Life::Draining { kill_at: self.at(kill_at)?, ready: since(ready)?, told }
            }
            Life::Killed { ready, overdue } => slot::Life::Killed { ready: since(ready)?, overdue },
        })
    }
}

impl Member {
    /// Whatever is added to a member is to be saved, too: hence no `..`.
    fn of(id: Id, member: &slot::Member, now: Now) -> Member {
        let slot::Member {
            slot,
            generation,
            life,
            born,
            exists,
            asked,
            replaced,
            online,
            connected,
            proven,
            first,
            stalled,
            ref said,
            worn,
        } = *member;
        let (life, age) = (now.save(life), now.ago(born));
        let worn = worn.map(|(at, why)| (now.ago(at), why));
        Member {
            id: id.0,
            slot,
            generation,
            life,
            age,
            exists,
            asked,
            replaced,
            online,
            connected,
            proven,
            first,
            stalled,
            said: said.clone(),
            worn,
        }
    }

    fn restore(&self, now: Now) -> Result<slot::Member, String> {
        let Member {
            id: _,
            slot,
            generation,
            life,
            age,
            exists,
            asked,
            replaced,
            online,
            connected,
            proven,
            first,
            stalled,
            ref said,
            worn,
        } = *self;
        let (life, born) = (now.restore(life)?, now.before(age)?);
        let worn = worn.map(|(ago, why)| Ok::<_, String>((now.before(ago)?, why))).transpose()?;
        Ok(slot::Member {
            slot,
            generation,
            life,
            born,
            exists,
            asked,
            replaced,
            online,
            connected,
            proven,
            first,
            stalled,
            said: said.clone(),
            worn,
        })
    }
}

impl Fleet {
    /// The ids of all members whose process exists.
    pub(crate) fn alive(&self) -> impl Iterator<Item = Id> {
        self.members.iter().filter(|member| member.exists).map(|member| Id(member.id))
    }

    /// Nobody's signs of life are to be waited for.
    pub(super) fn without_hearts(self) -> Fleet {
        Fleet { hearts: Vec::new(), ..self }
    }

    /// Whether it tells why an upgrade has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|upgrade| upgrade.failed.is_some())
    }

    /// What must hold of it, whoever wrote it.
    fn check(&self) -> Result<(), String> {
        let bad = |what: String| Err(format!("the state of the fleet contradicts itself: {what}"));
        let mut known = BTreeSet::new();
        for Member { id, slot, generation, .. } in &self.members {
            if !(1..=self.last_id).contains(id) || !known.insert(*id) {
                return bad(format!("worker {id} of {}", self.last_id));
            }
            if *slot >= self.slots.len() {
                return bad(format!("worker {id} is in slot {slot} of {}", self.slots.len()));
            }
            if *generation > self.last_generation {
                return bad(format!("worker {id} is of generation {generation} of {}", self.last_generation));
            }
        }
        if let Some(heart) = self.hearts.iter().find(|heart| !known.contains(&heart.worker)) {
            return bad(format!("signs of life of {}", heart.worker));
        }
        for (at, slot) in self.slots.iter().enumerate() {
            let Some(holder) = slot.holder else { continue };
            if !self.members.iter().any(|member| member.id == holder && member.slot == at) {
                return bad(format!("slot {at} is held by {holder}"));
            }
        }
        let upgrade = self.upgrade.as_ref().map_or(self.generation, |upgrade| upgrade.generation);
        let known = 1..=self.last_generation;
        if !known.contains(&self.generation) || !known.contains(&upgrade) {
            return bad(format!("generations {} and {upgrade} of {}", self.generation, self.last_generation));
        }
        // More than anybody counts up to, and to be counted on from.
        let last = self.last_id.max(self.last_generation);
        if last > u64::MAX / 2 {
            return bad(format!("a number {last} was given out"));
        }
        Ok(())
    }
}

impl step::Fleet {
    /// What another image needs to go on with it. To be performed, an exec comes from [`step::Effect::Exec`] and
    /// [`step::Effect::GoBack`] only: between them no reload runs, and it does not stop.
    pub(crate) fn save(&self, now: Instant) -> Fleet {
        let now = Now(now);
        // As with a member, whatever is added is to be thought of here. The rules are those of each image's settings; and
        // while it stops no image is executed.
        let step::Fleet {
            rules: _,
            ids,
            slots,
            members,
            deaths,
            reloads: Reloads { current, last, running: _, wanted, coming: _ },
            upgrades: Upgrades { under_way, postponed: _ },
            configured,
            phase: _,
            signalled: _,
            has_served,
            failure,
            hearts,
            // Counted anew at each step.
            target: _,
            worn_at: _,
        } = self;
        let slot = |slot: &step::Slot| {
            let step::Slot { holder, refill_at, streak, recycle_at } = slot;
            let (holder, refill) = (holder.map(|id| id.0), refill_at.map(|at| now.due(at)));
            Slot { holder, refill, streak: streak.deaths, recycle: recycle_at.map(|at| now.due(at)) }
        };
        let (generation, workers) = match under_way.as_ref().map(|upgrade| &upgrade.stage) {
            Some(Stage::Proving { before, workers } | Stage::GoingBack { before, workers, .. }) => {
                (*before, *workers)
            }
            _ => (*current, Some(*configured)),
        };
        let begun = under_way.as_ref().filter(|upgrade| upgrade.generation != 0);
        Fleet {
            last_id: ids.last(),
            slots: slots.iter().map(slot).collect(),
            members: members.iter().map(|(id, member)| Member::of(*id, member, now)).collect(),
            deaths: deaths.at.iter().map(|at| now.ago(*at)).collect(),
            generation,
            last_generation: *last,
            reload_wanted: *wanted,
            has_served: *has_served,
            nobody_left: match failure {
                Some(Failure::NobodyLeft { exit }) => Some(exit.into()),
                _ => None,
            },
            upgrade: begun.map(|upgrade| Upgrade {
                generation: upgrade.generation,
                took: now.ago(upgrade.began),
                failed: match &upgrade.stage {
                    Stage::GoingBack { why, .. } | Stage::Returned { why } => Some(why.into()),
                    _ => None,
                },
            }),
            workers,
            hearts: hearts.save(),
        }
    }

    /// The fleet in this image; its first input is [`step::Input::Resume`]. `ids` go on after the last that was given out.
    /// `workers`: how many this image's settings name. `refused`: why the new image could not take over, where this is the
    /// one before it, again.
    ///
    /// # Errors
    /// In words, what is wrong with what was saved.
    pub(crate) fn restore(
        saved: &Fleet,
        rules: Rules,
        ids: Ids,
        workers: usize,
        refused: Option<String>,
        now: Instant,
    ) -> Result<step::Fleet, String> {
        saved.check()?;
        let Some(upgrade) = &saved.upgrade else { return Err("the state is not that of an upgrade".into()) };
        let now = Now(now);
        let failed = refused.map(UpgradeFailure::Image).or_else(|| upgrade.failed.as_ref().map(Into::into));
        let (current, stage, roll) = match failed {
            Some(why) => (saved.generation, Stage::Returned { why }, Roll::Returning),
            None => {
                let stage = Stage::Proving { before: saved.generation, workers: saved.workers };
                (upgrade.generation, stage, Roll::Proving)
            }
        };
        let began = now.before(upgrade.took)?;
        let slots = saved.slots.iter().map(|slot| {
            Ok(step::Slot {
                holder: slot.holder.map(Id),
                refill_at: slot.refill.map(|due| now.at(due)).transpose()?,
                streak: Streak { deaths: slot.streak },
                recycle_at: slot.recycle.map(|due| now.at(due)).transpose()?,
            })
        });
        let members = saved.members.iter().map(|member| Ok((Id(member.id), member.restore(now)?)));
        let members: BTreeMap<_, _> = members.collect::<Result<_, String>>()?;
        let deaths = saved.deaths.iter().map(|ago| now.before(*ago)).collect::<Result<_, _>>()?;
        let postponed = members.iter().filter(|(_, member)| !member.exists).map(|(id, _)| *id).collect();
        ids.go_on_after(saved.last_id);
        let hearts = match rules.heartbeat {
            Some(_) => Hearts::restore(&saved.hearts, now.0)?,
            None => Hearts::default(),
        };
        let mut fleet = step::Fleet::new(rules, ids);
        fleet.hearts = hearts;
        fleet.slots = slots.collect::<Result<_, String>>()?;
        fleet.members = members;
        fleet.deaths = Deaths { at: deaths };
        fleet.reloads = Reloads {
            current,
            last: saved.last_generation,
            running: Some(Running { generation: current, began: now.0, roll }),
            wanted: saved.reload_wanted,
            coming: BTreeMap::new(),
        };
        let under_way = UnderWay { generation: upgrade.generation, began, stage };
        fleet.upgrades = Upgrades { under_way: Some(under_way), postponed };
        fleet.configured = workers;
        fleet.count();
        fleet.has_served = saved.has_served;
        fleet.failure = saved.nobody_left.as_ref().map(|exit| Failure::NobodyLeft { exit: exit.into() });
        Ok(fleet)
    }
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
pub(super) mod tests;
