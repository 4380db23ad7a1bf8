//! The rules: ten shapes, filled in for each target.

use std::fmt::Write;

const RULES_PER_GROUP: usize = 20;

/// Recorded name or `alert`, and the expression; `T` is the target, `K` a number that differs from rule to rule.
const SHAPES: [(&str, &str); 10] = [
    ("requests_by_code", "sum by (code) (rate(bench_requests_total{instance=\"T\"}[5m]))"),
    ("requests_by_method", "sum by (method) (rate(bench_requests_total{instance=\"T\",code=\"200\"}[5m]))"),
    (
        "errors_ratio",
        "sum(rate(bench_requests_total{instance=\"T\",code=\"500\"}[5m])) / sum(rate(bench_requests_total{instance=\"T\"}[5m]))",
    ),
    ("requests_of_path", "sum by (code) (rate(bench_requests_total{instance=\"T\",path=~\"/api/v1/items/K.*\"}[5m]))"),
    ("alert", "bench_temperature_celsius{instance=\"T\"} > 80 + K"),
    ("alert", "avg_over_time(bench_temperature_celsius{instance=\"T\",chip=\"platform_K\"}[5m]) > 75"),
    ("alert", "rate(bench_bytes_total{instance=\"T\"}[5m]) > 1e6"),
    ("temperature", "avg by (chip) (bench_temperature_celsius{instance=\"T\"})"),
    (
        "duration_p90",
        "histogram_quantile(0.9, sum by (le) (rate(bench_duration_seconds_bucket{instance=\"T\",handler=\"/handler/K\"}[5m])))",
    ),
    ("bytes", "sum(rate(bench_bytes_total{instance=\"T\"}[5m]))"),
];

/// A rule file of so many rules.
pub fn text(targets: &[String], count: usize) -> String {
    let mut text = if count == 0 { "groups: []\n" } else { "groups:\n" }.to_owned();
    for index in 0..count {
        if index % RULES_PER_GROUP == 0 {
            writeln!(text, "- name: group {}\n  rules:", index / RULES_PER_GROUP).expect("memory");
        }
        // All shapes for one target, then for the next one; another number each time around.
        let (round, shape) = (index / SHAPES.len(), index % SHAPES.len());
        let (target, number) = (&targets[round % targets.len()], round / targets.len() % 10);
        let (name, expr) = SHAPES[shape];
        let expr = expr.replace("\"T\"", &format!("\"{target}\"")).replace('K', &number.to_string());
        let rule = match name {
            "alert" => format!(
                "alert: Bench{shape}x{number}\n    for: 1m\n    labels: {{severity: page}}\n    annotations: {{summary: '{{{{ $labels.instance }}}} is at {{{{ $value }}}}'}}"
            ),
            name => format!("record: bench:{name}\n    labels: {{target: '{target}', number: '{number}'}}"),
        };
        writeln!(text, "  - {rule}\n    expr: {expr}").expect("memory");
    }
    text
}
