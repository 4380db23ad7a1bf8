//! Reading a page allocates nothing per sample: a counting allocator watches.
//!
//! A test of its own, since it replaces the allocator of the whole program.

#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use outpost::exposition::{Entry, EscapingScheme, Format, PageWriter, Parser, ResponseFormat};
use outpost::model::{MetricType, Timestamp};

thread_local! {
    /// Allocations of this thread: other tests run beside it.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counted.
struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FORMATS: [Format; 5] = [
    Format::PrometheusText004,
    Format::PrometheusText100,
    Format::OpenMetricsText001,
    Format::OpenMetricsText100,
    Format::PrometheusProto,
];

/// A page with so many samples: names to quote, values to escape, numbers of every shape, times.
fn page(format: Format, samples: usize) -> Vec<u8> {
    let escaping = EscapingScheme::AllowUtf8;
    let mut writer = PageWriter::new(ResponseFormat { format, escaping });
    writer.family("a.b", MetricType::Gauge, Some("some \\ help\n"), "");
    let values = [0.0, 1.5e300, -123_456.789, f64::NAN, f64::INFINITY, 0.1 + 0.2, 5e-324, 9_007_199_254_740_993.0];
    for at in 0..samples {
        let number = at.to_string();
        let labels = [("le", number.as_str()), ("path", "C:\\temp\n\"x\""), ("naïve label", "é")];
        let timestamp = (at % 2 == 0).then_some(Timestamp(1_700_000_000_000 + at as i64));
        writer.sample("a.b", labels, values[at % values.len()], timestamp);
    }
    writer.finish()
}

/// Reads a page as the scrape of a known page does, and gives samples and allocations.
fn read(format: Format, page: &[u8]) -> (usize, usize) {
    let before = ALLOCATIONS.get();
    let mut parser = Parser::new(format, page);
    let mut samples = 0;
    while let Some(entry) = parser.next_entry().expect("the page is well formed") {
        if let Entry::Series(series) = entry {
            samples += usize::from(!series.raw.is_empty());
        }
    }
    (samples, ALLOCATIONS.get() - before)
}

#[test]
fn no_allocation_per_sample() {
    for format in FORMATS {
        let (small, large) = (page(format, 16), page(format, 4096));
        let (samples, allocations_of_small) = read(format, &small);
        assert_eq!(samples, 16);
        let (samples, allocations) = read(format, &large);
        assert_eq!(samples, 4096);
        // Protobuf's buffers for a spelling grow with the longest one.
        assert!(allocations <= allocations_of_small + 2, "{format:?}: {allocations} and {allocations_of_small}");
    }
}

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1_u8; 100]));
    assert!(ALLOCATIONS.get() > before);
}
