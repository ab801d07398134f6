//! How much goes through the log streams: each counts for itself, and every few seconds it is looked
//! at what that is a second.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use kobel_wire::{
    DeviceUuid,
    log::{LogStreamId, StreamVolume},
};
use serde::Serialize;
use tokio::time::Instant;

use crate::logs::{queue::Volume, store::LogIdentity};

/// How often it is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// Rates are means over so many looks: a minute.
const LOOKS: usize = 12;

/// So many streams have series of their own in metrics, the noisiest ones.
const SERIES: usize = 50;

/// What one stream counts. Its task writes, others read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    lines: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    /// The most that a line was late since the last look, ms.
    lag: AtomicU64,
    /// Whether the lines before are here: they came at once and say nothing of how many come.
    settled: AtomicBool,
}

/// Lines, bytes and lines that were dropped.
type Sum = [u64; 3];

impl Counts {
    /// So much more came.
    pub(super) fn add(&self, more: Volume) {
        self.lines.fetch_add(more.lines, Relaxed);
        self.bytes.fetch_add(more.bytes, Relaxed);
        self.dropped.fetch_add(more.dropped, Relaxed);
    }

    /// The lines before are here.
    pub(super) fn settled(&self) {
        self.settled.store(true, Relaxed);
    }

    /// A line was worked on so late, ms.
    pub(super) fn late(&self, ms: u64) {
        self.lag.fetch_max(ms, Relaxed);
    }

    fn sum(&self) -> Sum {
        [&self.lines, &self.bytes, &self.dropped].map(|count| count.load(Relaxed))
    }
}

/// A stream that is followed.
#[derive(Debug)]
struct Counted {
    /// Whose lines they are; `None` while that is not known.
    identity: Option<Arc<LogIdentity>>,
    counts: Arc<Counts>,
    /// Lines and bytes at the last looks, oldest first.
    looks: VecDeque<(Instant, Sum)>,
    per_second: [f64; 2],
    lag_ms: u64,
    /// What of it has been told under its own name, or among the others.
    told: Sum,
}

impl Counted {
    fn look(&mut self, now: Instant) {
        self.lag_ms = self.counts.lag.swap(0, Relaxed);
        if !self.counts.settled.load(Relaxed) {
            return;
        }
        let sum = self.counts.sum();
        self.looks.push_back((now, sum));
        if self.looks.len() > LOOKS + 1 {
            self.looks.pop_front();
        }
        let Some((since, first)) = self.looks.front() else { return };
        let seconds = now.saturating_duration_since(*since).as_secs_f64();
        let rate =
            |of: usize| if seconds > 0.0 { (sum[of] - first[of]) as f64 / seconds } else { 0.0 };
        self.per_second = [rate(0), rate(1)];
    }

    fn volume(&self) -> StreamVolume {
        let [lines, bytes, dropped] = self.counts.sum();
        let round = |rate: f64| (rate * 100.0).round() / 100.0;
        StreamVolume {
            lines_per_second: round(self.per_second[0]),
            bytes_per_second: round(self.per_second[1]),
            lines,
            bytes,
            dropped,
            lag_ms: self.lag_ms,
        }
    }
}

/// A stream in a list of the noisiest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NoisyStream {
    /// The stream.
    pub stream_id: LogStreamId,
    /// Whose lines they are.
    #[serde(flatten)]
    pub identity: Arc<LogIdentity>,
    /// How much.
    #[serde(flatten)]
    pub volume: StreamVolume,
}

/// How much goes through many streams.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TotalVolume {
    /// Lines a second.
    pub lines_per_second: f64,
    /// Bytes a second.
    pub bytes_per_second: f64,
    /// How many streams.
    pub streams: u64,
}

/// One stream's series in metrics, or what all others have together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSeries {
    /// The device's name; empty for the others.
    pub device: String,
    /// The container's name; `other` for the others.
    pub container: String,
    /// Lines that came.
    pub lines: u64,
    /// Bytes of their text.
    pub bytes: u64,
    /// Lines that were dropped.
    pub dropped: u64,
    /// How late lines were worked on lately, at most, ms.
    pub lag_ms: u64,
}

/// The streams by their numbers.
#[derive(Debug, Default)]
struct Streams {
    all: BTreeMap<u64, Counted>,
    /// Those that have series of their own.
    named: HashSet<u64>,
    /// What streams without series of their own counted: it only grows.
    others: Sum,
}

impl Streams {
    /// Adds what a stream counted since it was last told.
    fn tell(named: bool, stream: &mut Counted, others: &mut Sum) {
        let sum = stream.counts.sum();
        if !named {
            for (all, (now, told)) in others.iter_mut().zip(sum.iter().zip(stream.told)) {
                *all += now - told;
            }
        }
        stream.told = sum;
    }
}

/// How much went through all streams, since the start, and how much goes through each.
#[derive(Debug, Default)]
pub struct LogVolume {
    lines: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    passes: AtomicU64,
    follows: AtomicU64,
    // Locked for a look; the streams themselves count without it.
    streams: Mutex<Streams>,
}

impl LogVolume {
    /// Lines that came.
    pub fn lines(&self) -> u64 {
        self.lines.load(Relaxed)
    }

    /// Bytes of their text.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Lines that were dropped since they came faster than they could be worked on.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// How often a filter looked at a line for viewers: once for all with equal filters.
    pub fn passes(&self) -> u64 {
        self.passes.load(Relaxed)
    }

    /// Follows of containers that were begun: one for all who want its lines.
    pub fn follows(&self) -> u64 {
        self.follows.load(Relaxed)
    }

    pub(super) fn passed(&self, passes: u64) {
        self.passes.fetch_add(passes, Relaxed);
    }

    pub(super) fn followed(&self) {
        self.follows.fetch_add(1, Relaxed);
    }

    /// Streams that are followed now.
    pub fn streams(&self) -> u64 {
        self.lock().all.len() as u64
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream begins; `number` names it among those of the process.
    pub(super) fn begin(&self, number: u64, identity: Option<Arc<LogIdentity>>) -> Arc<Counts> {
        let counts = Arc::<Counts>::default();
        let counted = Counted {
            identity,
            counts: Arc::clone(&counts),
            looks: VecDeque::new(),
            per_second: [0.0; 2],
            lag_ms: 0,
            told: Sum::default(),
        };
        self.lock().all.insert(number, counted);
        counts
    }

    /// Whose lines they are from now on.
    pub(super) fn rename(&self, number: u64, identity: &LogIdentity) {
        if let Some(stream) = self.lock().all.get_mut(&number)
            && stream.identity.as_deref() != Some(identity)
        {
            stream.identity = Some(Arc::new(identity.clone()));
        }
    }

    /// A stream has ended.
    pub(super) fn end(&self, number: u64) {
        let streams = &mut *self.lock();
        let named = streams.named.remove(&number);
        if let Some(mut stream) = streams.all.remove(&number) {
            Streams::tell(named, &mut stream, &mut streams.others);
        }
    }

    /// So much more came through a stream.
    pub(super) fn add(&self, counts: &Counts, more: Volume) {
        counts.add(more);
        self.lines.fetch_add(more.lines, Relaxed);
        self.bytes.fetch_add(more.bytes, Relaxed);
        self.dropped.fetch_add(more.dropped, Relaxed);
    }

    /// Works the rates out anew: to be called each [`LOOK`]. How much goes through each stream.
    pub(super) fn look(&self, now: Instant) -> Vec<(LogStreamId, StreamVolume)> {
        let Streams { all, named, others } = &mut *self.lock();
        for (number, stream) in all.iter_mut() {
            stream.look(now);
            Streams::tell(named.contains(number), stream, others);
        }
        let mut noisy: Vec<_> = all.iter().filter(|(_, s)| s.identity.is_some()).collect();
        noisy.sort_by(|(a, x), (b, y)| y.per_second[1].total_cmp(&x.per_second[1]).then(a.cmp(b)));
        noisy.truncate(SERIES);
        // Where two have the same names, the newer one has them: the older is about to end.
        let mut names = HashMap::new();
        for (number, stream) in noisy {
            if let Some(identity) = &stream.identity {
                let newest =
                    names.entry((&identity.device_name, &identity.name)).or_insert(*number);
                *newest = (*newest).max(*number);
            }
        }
        *named = names.into_values().collect();
        let told = all.values().filter_map(|s| Some((s.identity.as_ref()?.stream(), s.volume())));
        told.collect()
    }

    /// The noisiest streams of devices that may be seen, at most so many, by bytes a second over the
    /// last minute; and all of these devices' streams together.
    pub fn noisiest(
        &self,
        most: usize,
        may_see: impl Fn(DeviceUuid) -> bool,
    ) -> (Vec<NoisyStream>, TotalVolume) {
        let streams = self.lock();
        let mut total = TotalVolume::default();
        let mut noisy = Vec::new();
        for stream in streams.all.values() {
            let Some(identity) = stream.identity.as_ref().filter(|i| may_see(i.device_uuid)) else {
                continue;
            };
            let volume = stream.volume();
            total.lines_per_second += volume.lines_per_second;
            total.bytes_per_second += volume.bytes_per_second;
            total.streams += 1;
            let (stream_id, identity) = (identity.stream(), Arc::clone(identity));
            noisy.push(NoisyStream { stream_id, identity, volume });
        }
        let rate = |stream: &NoisyStream| stream.volume.bytes_per_second;
        noisy.sort_by(|a, b| rate(b).total_cmp(&rate(a)).then(b.volume.bytes.cmp(&a.volume.bytes)));
        noisy.truncate(most);
        (noisy, total)
    }

    /// The series for metrics: at most 50 streams, and one for all others. Those of the others
    /// grow every few seconds. Whatever comes and goes, no counter goes back but by a stream that begins
    /// anew.
    pub fn series(&self) -> Vec<StreamSeries> {
        let streams = self.lock();
        let mut series = Vec::new();
        let mut late = 0;
        for (number, stream) in &streams.all {
            match &stream.identity {
                Some(identity) if streams.named.contains(number) => {
                    let [lines, bytes, dropped] = stream.counts.sum();
                    let (device, container) = (identity.device_name.clone(), identity.name.clone());
                    let lag_ms = stream.lag_ms;
                    series.push(StreamSeries { device, container, lines, bytes, dropped, lag_ms });
                }
                _ => late = late.max(stream.lag_ms),
            }
        }
        let [lines, bytes, dropped] = streams.others;
        let (device, container) = (String::new(), "other".to_owned());
        series.push(StreamSeries { device, container, lines, bytes, dropped, lag_ms: late });
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str) -> Arc<LogIdentity> {
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "deviceUuid": "0198c0de-0000-7000-8000-0000000000ab", "deviceName": "host",
                "containerId": format!("{:0>64}", name.len()), "name": name, "image": "x",
            }))
            .unwrap(),
        )
    }

    fn came(lines: u64) -> Volume {
        Volume { lines, bytes: lines * 10, dropped: 0, waiting: 0 }
    }

    #[test]
    fn rates_are_those_of_the_last_minute_without_the_lines_before() {
        let (volume, start) = (LogVolume::default(), Instant::now());
        let counts = volume.begin(1, Some(identity("web")));
        volume.add(&counts, came(1000));
        assert_eq!(volume.look(start)[0].1.lines_per_second, 0.0);
        counts.settled();
        counts.late(250);
        let mut now = start;
        let mut rates = Vec::new();
        for look in 0..30 {
            now += LOOK;
            let told = volume.look(now).remove(0).1;
            assert_eq!(told.lag_ms, if look == 0 { 250 } else { 0 });
            rates.push(told.lines_per_second);
            // 20 lines a second for 50 seconds, then none.
            volume.add(&counts, came(if look < 10 { 100 } else { 0 }));
        }
        assert_eq!(rates[..11], [[0.0].as_slice(), &[20.0; 10]].concat());
        assert!(rates[11] < 20.0 && rates[17] < rates[11], "{rates:?}");
        assert_eq!(rates[29], 0.0);
        let (noisy, total) = volume.noisiest(5, |_| true);
        assert_eq!((noisy[0].volume.lines, noisy[0].volume.bytes), (2000, 20_000));
        assert_eq!(total.streams, 1);
        assert_eq!(volume.noisiest(5, |_| false), (vec![], TotalVolume::default()));
    }

    #[test]
    fn series_are_bounded_and_never_go_back() {
        let (volume, mut now) = (LogVolume::default(), Instant::now());
        let all: Vec<_> = (1..=80_u64)
            .map(|n| volume.begin(n, Some(identity(&"x".repeat(n as usize)))))
            .collect();
        all.iter().for_each(|counts| counts.settled());
        let mut before: HashMap<String, u64> = HashMap::new();
        for round in 0..20_u64 {
            volume.look(now);
            now += LOOK;
            for (n, counts) in (0..).zip(&all) {
                // Who is noisy changes.
                volume.add(counts, came((n * 7 + round * 13) % 80));
            }
            let series = volume.series();
            assert!(series.len() <= SERIES + 1);
            for one in series {
                let known = before.insert(one.container.clone(), one.lines);
                assert!(known.is_none_or(|known| known <= one.lines), "{one:?} {known:?}");
            }
        }
        volume.look(now);
        // What ended is among the others, too.
        let others = |volume: &LogVolume| volume.series().pop().unwrap().lines;
        let known = others(&volume);
        let quiet = {
            let streams = volume.lock();
            *streams.all.keys().find(|n| !streams.named.contains(n)).unwrap()
        };
        volume.add(&all[quiet as usize - 1], came(5));
        volume.end(quiet);
        assert_eq!(others(&volume), known + 5);
    }

    #[test]
    fn two_of_the_same_names_have_one_series() {
        let volume = LogVolume::default();
        for number in [1, 2] {
            let counts = volume.begin(number, Some(identity("web")));
            volume.add(&counts, came(number));
        }
        volume.look(Instant::now());
        let series: Vec<_> = volume.series().into_iter().map(|s| (s.container, s.lines)).collect();
        // What came before they were named is among the others.
        assert_eq!(series, [("web".into(), 2), ("other".into(), 3)]);
    }
}
