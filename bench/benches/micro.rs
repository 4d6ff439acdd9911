//! The innermost parts by themselves: `cargo bench -p cluster-bench --features micro`.

use std::hint::black_box;

use cluster::bench::{Frames, Lane, Turns};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn frames(criterion: &mut Criterion) {
    const COUNT: usize = 1000;
    let mut group = criterion.benchmark_group("frames");
    group.throughput(Throughput::Elements(COUNT as u64));
    for size in [16, 1024] {
        let body = vec![7; size];
        let mut frames = Frames::default();
        group.bench_function(format!("encode, {size} bytes"), |b| {
            b.iter(|| frames.encode(COUNT, black_box(&body)))
        });
        frames.encode(COUNT, &body);
        group.bench_function(format!("decode, {size} bytes"), |b| {
            b.iter(|| assert_eq!(frames.decode(), COUNT));
        });
    }
    group.finish();
}

fn lane(criterion: &mut Criterion) {
    let lane = Lane::new().expect("the kernel makes sockets");
    let mut group = criterion.benchmark_group("lane");
    for burst in [1, 16] {
        group.throughput(Throughput::Elements(burst));
        group.bench_function(format!("handed off, received and closed, {burst} at a time"), |b| {
            b.iter(|| {
                for _ in 0..burst {
                    lane.hand_off().expect("there is room");
                }
                for _ in 0..burst {
                    assert!(lane.receive().expect("it has come").is_some());
                }
            });
        });
    }
    group.finish();
}

fn pick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pick");
    for workers in [2, 128] {
        let mut turns = Turns::of(workers);
        group.bench_function(format!("round robin, {workers} workers"), |b| b.iter(|| turns.pick()));
    }
    group.finish();
}

criterion_group!(all, frames, lane, pick);
criterion_main!(all);
