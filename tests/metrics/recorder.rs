//! A recorder that keeps the newest value of each series.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

/// Series as Prometheus writes them, their labels in order.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    values: BTreeMap<String, f64>,
    described: BTreeMap<String, &'static str>,
}

impl Kept {
    /// Where `labels` is all labels but `secret`; counters and gauges their value, histograms how often
    /// something was recorded.
    pub(crate) fn get(&self, series: &str) -> Option<f64> {
        self.0.lock().unwrap().values.get(series).copied()
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().values.keys().cloned().collect()
    }

    pub(crate) fn described(&self) -> BTreeMap<String, &'static str> {
        self.0.lock().unwrap().described.clone()
    }

    fn series(&self, key: &Key) -> Series {
        let mut labels: Vec<_> = key.labels().map(|it| (it.key(), it.value())).collect();
        labels.sort_unstable();
        let secret = labels.iter().position(|(name, _)| *name == "secret");
        let (_, secret) = labels.remove(secret.unwrap());
        assert_eq!(secret, super::life::SECRET);
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0
            .lock()
            .unwrap()
            .values
            .entry(name.clone())
            .or_default();
        let kept = self.clone();
        Series { kept, name }
    }

    fn describe(
        &self,
        name: &KeyName,
        kind: &'static str,
        unit: Option<Unit>,
        text: &SharedString,
    ) {
        assert!(unit.is_some() && text.ends_with('.'), "{name:?}: {text}");
        let described = &mut self.0.lock().unwrap().described;
        described.insert(name.as_str().to_owned(), kind);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, "counter", unit, &text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, "gauge", unit, &text);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(&name, "histogram", unit, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(self.series(key)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(self.series(key)))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::new(self.series(key)))
    }
}

struct Series {
    kept: Kept,
    name: String,
}

impl Series {
    fn change(&self, how: impl FnOnce(&mut f64)) {
        how(self
            .kept
            .0
            .lock()
            .unwrap()
            .values
            .get_mut(&self.name)
            .unwrap());
    }
}

impl CounterFn for Series {
    fn increment(&self, by: u64) {
        self.change(|value| *value += by as f64);
    }

    fn absolute(&self, new: u64) {
        self.change(|value| *value = new as f64);
    }
}

impl GaugeFn for Series {
    fn increment(&self, by: f64) {
        self.change(|value| *value += by);
    }

    fn decrement(&self, by: f64) {
        self.change(|value| *value -= by);
    }

    fn set(&self, new: f64) {
        self.change(|value| *value = new);
    }
}

impl HistogramFn for Series {
    fn record(&self, _: f64) {
        self.change(|value| *value += 1.0);
    }
}
