//! The source on the machine that the tests run on.

use kobel_hub::{demand::Need, ingest};
use kobel_wire::{DeviceId, DeviceUuid};

use super::*;

#[test]
fn this_machine_says_who_it_is() {
    let facts = facts();
    assert!(!facts.hostname.is_empty());
    assert!(facts.kernel.unwrap().starts_with("Linux "));
    assert!(facts.cpu_count.unwrap() > 0);
    let age = Timestamp::now().as_millis() - facts.booted_at.unwrap().as_millis();
    assert!(age > 0, "booted in the future");
}

#[tokio::test]
async fn two_samples_agree_with_the_kernel() {
    let (ingest, inbox) = ingest::channel();
    let target = Target { device: DeviceUuid::generate(), id: DeviceId(7) };
    let (stats, cancel) = (Arc::new(CollectStats::default()), CancellationToken::new());
    let demand = Demand::default();
    demand.tell(target.device, Need::Every(Duration::from_millis(200)));
    let period = Duration::from_millis(200);
    let source = LocalSource::new(target, ingest, demand, period, Arc::clone(&stats));
    let running = tokio::spawn(source.run(cancel.clone()));
    let next = async || loop {
        let update = inbox.take().await.remove(&target.device).unwrap();
        if let Some(sample) = update.sample {
            return sample;
        }
    };
    let first = next().await;
    assert_eq!((first.device_uuid, first.id), (target.device, target.id));
    assert_eq!(first.cpu, None, "a rate out of one reading");
    let total: u64 = fs_kilobytes("MemTotal:");
    assert_eq!(first.memory_total, Some(total * 1024));
    assert!(first.memory.unwrap() > 0.0 && first.memory.unwrap() < 100.0);
    let root = first.mounts.iter().find(|m| m.path == "/").unwrap();
    assert!(root.used <= root.total && root.total > 0);
    assert!(first.disk.unwrap() <= 100.0);

    let mut later = next().await;
    while later.cpu.is_none() {
        later = next().await;
    }
    assert!((0.0..=100.0).contains(&later.cpu.unwrap()));
    assert!(!later.cores.is_empty());
    assert!(later.uptime >= first.uptime);
    assert!(later.sampled_at > first.sampled_at);
    cancel.cancel();
    running.await.unwrap();
    let stats = stats.snapshot();
    assert!(stats.samples >= 2 && stats.sample_errors == 0, "{stats:?}");
}

fn fs_kilobytes(name: &str) -> u64 {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
