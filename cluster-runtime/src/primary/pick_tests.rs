//! What holds of the picks, whoever is ready.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn turns(robin: &mut RoundRobin<u32>, ready: &[u32]) -> Option<u32> {
    robin.pick(ready, |_| false)
}

fn known(connections: u64) -> Option<Load> {
    Some(Load { behind: false, connections })
}

#[test]
fn everybody_in_turn() {
    let mut robin = RoundRobin::default();
    let picks: Vec<_> = (0..7).filter_map(|_| turns(&mut robin, &[2, 5, 9])).collect();
    assert_eq!(picks, [2, 5, 9, 2, 5, 9, 2]);
}

#[test]
fn leaving_and_joining_skips_nobody() {
    let mut robin = RoundRobin::default();
    assert_eq!(turns(&mut robin, &[1, 2, 3]), Some(1));
    assert_eq!(turns(&mut robin, &[1, 3]), Some(3));
    assert_eq!(turns(&mut robin, &[1, 2, 3]), Some(1));
    assert_eq!(turns(&mut robin, &[3]), Some(3));
    assert_eq!(turns(&mut robin, &[]), None);
    assert_eq!(turns(&mut robin, &[1, 2, 3, 4]), Some(4));
}

/// Mutation: give one that is behind its turn; give nobody anything when all are.
#[test]
fn one_that_is_behind_is_passed_over_while_somebody_keeps_up() {
    let mut robin = RoundRobin::default();
    let mut pick = |behind: &[u32]| robin.pick(&[1, 2, 3], |key| behind.contains(&key));
    assert_eq!([(); 4].map(|()| pick(&[2])), [1, 3, 1, 3].map(Some));
    assert_eq!([(); 3].map(|()| pick(&[1, 2, 3])), [1, 2, 3].map(Some));
    assert_eq!([(); 3].map(|()| pick(&[])), [1, 2, 3].map(Some));
}

/// Mutation: the first of those that have as few.
#[test]
fn of_several_with_the_least_the_next_in_turn() {
    let mut robin = RoundRobin::default();
    let mut pick = |loads: [u64; 3]| robin.pick_least(&[0, 1, 2], |key| known(loads[key]));
    assert_eq!([(); 4].map(|()| pick([1, 1, 1])), [0, 1, 2, 0].map(Some));
    assert_eq!([(); 3].map(|()| pick([2, 1, 1])), [1, 2, 1].map(Some));
    assert_eq!(pick([0, 1, 1]), Some(0));
}

/// Mutation: take what is not known for nothing; for more than anybody has; compare connections before who is behind.
#[test]
fn of_whom_nothing_is_known_gets_its_share_and_not_all() {
    let mut robin = RoundRobin::default();
    let mut pick = |loads: [Option<Load>; 3]| robin.pick_least(&[0, 1, 2], |key| loads[key]);
    assert_eq!([(); 6].map(|()| pick([known(1), None, known(1)])), [0, 1, 2, 0, 1, 2].map(Some));
    assert_eq!([(); 4].map(|()| pick([known(1), None, known(9)])), [0, 1, 0, 1].map(Some));
    let behind = Some(Load { behind: true, connections: 0 });
    assert_eq!([(); 2].map(|()| pick([behind, None, behind])), [1, 1].map(Some));
    assert_eq!(pick([behind, known(5), behind]), Some(1));
    assert_eq!(pick([behind, behind, behind]), Some(2));
    assert_eq!(pick([None, None, None]), Some(0));
}

/// Where a client is served is the same for ever: these are never to change.
///
/// Mutation: another constant; the port as well; a seed.
#[test]
fn a_client_has_the_same_slot_everywhere_and_for_ever() {
    let slots = |client: IpAddr| [2, 3, 8].map(|count| slot_of(client, 0..count).unwrap());
    assert_eq!(slots(Ipv4Addr::LOCALHOST.into()), FIXED[0]);
    assert_eq!(slots(Ipv4Addr::new(192, 0, 2, 1).into()), FIXED[1]);
    assert_eq!(slots("2001:db8::1".parse::<Ipv6Addr>().unwrap().into()), FIXED[2]);
}

/// By hand, from the algorithm as docs/policies.md has it.
const FIXED: [[usize; 3]; 3] = [[0, 2, 2], [1, 1, 3], [1, 1, 4]];

fn clients(seed: u32, count: u32) -> impl Iterator<Item = IpAddr> {
    // A neighbourhood, which is what a hash that is no good would send to one place.
    (0..count).map(move |n| Ipv4Addr::from_bits(seed.wrapping_add(n)).into())
}

proptest! {
    /// Mutation: remember a position; begin anew when somebody joins.
    #[test]
    fn in_turn_nobody_is_ever_more_than_one_ahead(slots in 1..40u32, picks in 0..400usize, last in 0..50u32) {
        let (mut robin, ready) = (RoundRobin::after(last), (0..slots).collect::<Vec<_>>());
        let mut counts = BTreeMap::new();
        for _ in 0..picks {
            *counts.entry(turns(&mut robin, &ready).unwrap()).or_insert(0) += 1;
        }
        let counts = ready.iter().map(|key| counts.get(key).copied().unwrap_or(0));
        let (least, most) = counts.fold((usize::MAX, 0), |(least, most), n| (least.min(n), most.max(n)));
        prop_assert!(most - least <= 1);
    }

    /// Whoever is behind, the others are served as if it were not there.
    ///
    /// Mutation: skip two where one is behind.
    #[test]
    fn who_is_behind_changes_nobody_elses_turns(
        behind in prop::collection::vec(any::<bool>(), 1..20), picks in 1..100usize, last in 0..25u32,
    ) {
        let all: Vec<_> = (0..behind.len() as u32).collect();
        let up: Vec<_> = all.iter().copied().filter(|key| !behind[*key as usize]).collect();
        prop_assume!(!up.is_empty());
        let (mut one, mut other) = (RoundRobin::after(last), RoundRobin::after(last));
        for _ in 0..picks {
            prop_assert_eq!(one.pick(&all, |key| behind[key as usize]), turns(&mut other, &up));
        }
    }

    /// Connections come and go, each to whoever has the fewest: nobody has two more than another while none goes.
    ///
    /// Mutation: the most; the load before this one.
    #[test]
    fn the_least_loaded_is_picked(loads in prop::collection::vec(0..5u64, 1..20), last in 0..25usize) {
        let (mut robin, ready) = (RoundRobin::after(last), (0..loads.len()).collect::<Vec<_>>());
        let mut loads = loads;
        for _ in 0..200 {
            let picked = robin.pick_least(&ready, |key| known(loads[key])).unwrap();
            prop_assert_eq!(loads[picked], *loads.iter().min().unwrap());
            loads[picked] += 1;
        }
        prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 1);
    }

    /// Mutation: the remainder of a division; a hash whose low bits alone count.
    #[test]
    fn one_slot_more_takes_its_share_and_moves_nobody_else(seed: u32, slots in 1..32usize) {
        let count = 4000;
        let mut moved = 0;
        for client in clients(seed, count) {
            let (before, after) = (slot_of(client, 0..slots), slot_of(client, 0..slots + 1));
            prop_assert!(after == before || after == Some(slots), "{client}: {before:?}, {after:?}");
            moved += usize::from(after != before);
        }
        let share = count as usize / (slots + 1);
        prop_assert!(moved.abs_diff(share) <= share / 2 + 20, "{moved} of {share}");
    }

    /// While one slot is not ready, its clients alone are elsewhere; and not all in one place.
    ///
    /// Mutation: the next slot in place of the next in rank.
    #[test]
    fn the_clients_of_a_slot_that_is_missing_are_spread_and_come_back(seed: u32, slots in 3..16usize, gone: usize) {
        let gone = gone % slots;
        let (mut elsewhere, mut its) = (BTreeMap::new(), 0u32);
        for client in clients(seed, 2000) {
            let home = slot_of(client, 0..slots).unwrap();
            let meanwhile = slot_of(client, (0..slots).filter(|slot| *slot != gone)).unwrap();
            if home == gone {
                its += 1;
                *elsewhere.entry(meanwhile).or_insert(0u32) += 1;
            } else {
                prop_assert_eq!(home, meanwhile);
            }
        }
        prop_assert!(elsewhere.values().all(|n| *n < its * 3 / 4 + 10), "{elsewhere:?} of {its}");
    }

    /// Mutation: hash the sixteen bytes of one and the four of the other.
    #[test]
    fn an_ipv4_address_is_the_same_however_it_is_written(bits: u32, slots in 1..64usize) {
        let address = Ipv4Addr::from_bits(bits);
        prop_assert_eq!(slot_of(address.into(), 0..slots), slot_of(address.to_ipv6_mapped().into(), 0..slots));
    }
}
