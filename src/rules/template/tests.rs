//! Templates against what Prometheus 3.5's promtool gives for them.

use super::*;

fn expand(text: &str) -> Result<String, TemplateError> {
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    let up = |instance: &str, value: f64| VectorSample {
        labels: labels(&[("__name__", "up"), ("instance", instance), ("job", "j")]),
        timestamp: Timestamp(0),
        value: Value::Float(value),
    };
    let query = |query: &str| match query {
        "up" => Ok(vec![up("b:1", 0.0), up("a:1", 1.0), up("c:1", 2.5)]),
        "nope" => Ok(Vec::new()),
        "count(up)" => {
            Ok(vec![VectorSample { labels: Labels::empty(), timestamp: Timestamp(0), value: Value::Float(3.0) }])
        }
        _ => Err("1:5: parse error: unclosed left parenthesis".to_owned()),
    };
    let context = Context {
        labels: &labels(&[("__name__", "x"), ("instance", "host.example.org:9100"), ("job", "node")]),
        value: &Value::Float(1234.5),
        external_labels: &labels(&[("site", "home")]),
        external_url: "http://ext.example:9090/prom",
        at: Timestamp(1_500),
        query: &query,
    };
    Template::parse("__alert_A", text)?.expand(&context)
}

#[test]
fn gives_what_prometheus_gives() {
    for (text, expected) in OUTPUTS {
        assert_eq!(expand(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn fails_with_the_words_of_prometheus() {
    for (text, expected) in FAILURES {
        let (place, message) = expected.split_once(' ').expect("a place and a message");
        let reason = format!("template: __alert_A:{place}: executing \"__alert_A\" at {message}");
        let error = expand(text).expect_err(text);
        assert_eq!(error.to_string(), format!("error executing template __alert_A: {reason}"), "{text}");
    }
}

#[test]
fn refuses_what_is_no_template() {
    for (text, expected) in REFUSED {
        let error = Template::parse("__alert_A", text).expect_err(text);
        assert_eq!(error.reason(), format!("template: __alert_A:1: {expected}"), "{text}");
    }
}

#[test]
fn no_cut_of_a_template_panics() {
    for (text, _) in OUTPUTS.iter().chain(FAILURES).chain(REFUSED) {
        for (index, _) in text.char_indices() {
            let _ = expand(&text[..index]);
            let _ = expand(&text[index..]);
            let _ = expand(&format!("{}{}", &text[..index], text[index..].chars().skip(1).collect::<String>()));
        }
    }
}

#[test]
fn whatever_a_template_does_is_bounded() {
    let work = || {
        let cases = [
            (format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(10)), "parenthesis"),
            (format!("{{{{ {}1{} }}}}", "(".repeat(5_000), ")".repeat(5_000)), "template nests deeper than 50 levels"),
            ("{{ if true }}".repeat(5_000), "template nests deeper than 50 levels"),
            (
                "{{ define \"t\" }}{{ template \"t\" }}{{ end }}{{ template \"t\" }}".to_owned(),
                "maximum template depth",
            ),
            ("{{ range 1000000000 }}{{ end }}".to_owned(), "more than 100000 steps"),
            ("{{ range 1000000000 }}x{{ end }}".to_owned(), "more than 100000 steps"),
            ("{{ range 99999 }}xxxxxxxxxx{{ end }}".to_owned(), "output longer than"),
            (
                "{{ $x := \"0123456789\" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}".to_owned(),
                "result longer than",
            ),
            ("{{ $x := 1 }}{{ range 99 }}{{ $x = args $x $x $x }}{{ end }}".to_owned(), "args nested deeper than"),
            (" ".repeat(TEXT_BYTES_MAX), "longer than the"),
        ];
        for (text, expected) in cases {
            let short: String = text.chars().take(40).collect();
            let error = expand(&text).expect_err(&short).to_string();
            assert!(error.contains(expected) || expected == "parenthesis", "{short}: {error:.200}");
        }
    };
    // As small as a thread's stack may be on a small board.
    std::thread::Builder::new().stack_size(512 * 1024).spawn(work).expect("a thread").join().expect("no overflow");
}

/// Templates and what they give; checked with promtool where it has the function.
const OUTPUTS: &[(&str, &str)] = &[
    (
        r#"{{ printf "%5d|%6.2f|%+d|% d" $value 1024 0.999 3600.5 }}"#,
        "%!d(float64=1234.5)|%!f(int=  1024)|%!d(float64=+0.999)|%!d(float64= 3600.5)",
    ),
    (
        r#"{{ printf "%.3s|%5d|%.2f|%08b|%8.3e" 1234567.891 true "%!b" "3600.5" "abcd" }}"#,
        "%!s(float64=1.23e+06)|%!d(bool= true)|%!f(string=%!)|%!b(string=003600.5)|%!e(string=     abc)",
    ),
    (
        r#"{{ printf "%08s|%08v|%08d|%08q|%08t|%08v|%08s" "abc" "abc" "abc" "abc" true true 1.5 }}"#,
        r#"00000abc|00000abc|%!d(string=00000abc)|000"abc"|0000true|0000true|%!s(float64=000001.5)"#,
    ),
    (
        r#"{{ printf "%05.1f|%6.2f|%-6f|%5d" 0 0 "a" nil }}"#,
        "%!f(int=    0)|%!f(int=    00)|%!f(string=a     )|%!d(<nil>)",
    ),
    ("plain text", "plain text"),
    ("{{ $value }}", "1234.5"),
    ("{{ $labels.instance }} is {{ $labels.job }}", "host.example.org:9100 is node"),
    ("[{{ $labels.missing }}]", "[]"),
    (
        "{{ .Labels.instance }} {{ .Value }} {{ .ExternalURL }} {{ $externalURL }}",
        "host.example.org:9100 1234.5 http://ext.example:9090/prom http://ext.example:9090/prom",
    ),
    ("{{ $externalLabels.site }} {{ .ExternalLabels }}", "home map[site:home]"),
    ("{{ $labels }}", "map[__name__:x instance:host.example.org:9100 job:node]"),
    (
        "{{ . }}",
        "{map[__name__:x instance:host.example.org:9100 job:node] map[site:home] http://ext.example:9090/prom 1234.5}",
    ),
    (
        r#"{{ $value | humanize }} {{ 1234567 | humanize }} {{ 0.00012 | humanize }} {{ 0 | humanize }} {{ -1500.0 | humanize }} {{ "1e30" | humanize }}"#,
        "1.234k 1.235M 120u 0 -1.5k 1e+06Y",
    ),
    (
        r#"{{ humanizePercentage 0.12345678 }} {{ humanizePercentage 1 }} {{ humanizePercentage "0.5" }}"#,
        "12.35% 100% 50%",
    ),
    (
        r#"{{ humanizeTimestamp 1435065584.128 }} {{ humanizeTimestamp 0 }} {{ 1435065584 | toTime }} {{ humanizeTimestamp "NaN" }}"#,
        "2015-06-23 13:19:44.128 +0000 UTC 1970-01-01 00:00:00 +0000 UTC 2015-06-23 13:19:44 +0000 UTC NaN",
    ),
    (
        r#"{{ (1435065584 | toTime).Year }} {{ (toTime 1435065584).Unix }} {{ (toTime 1435065584.5).Format "2006-01-02T15:04:05.000Z07:00" }}"#,
        "2015 1435065584 2015-06-23T13:19:44.500Z",
    ),
    (
        r#"{{ (toTime 1435065584).Format "Mon Jan _2 15:04:05 2006" }} {{ (toTime 1435065584).Weekday }} {{ (toTime 1435065584).Month }}"#,
        "Tue Jun 23 13:19:44 2015 Tuesday June",
    ),
    (
        r#"{{ printf "%.2f" $value }} {{ printf "%d" $value }} {{ printf "%5.1f|%-8s|%08.3f|%+d|%x" 3.14159 "ab" -3.14159 42 255 }}"#,
        "1234.50 %!d(float64=1234.5)   3.1|ab      |-003.142|+42|ff",
    ),
    (r#"{{ printf "%s %v %q %t %%" "a" "b" "c\"d" true }}"#, r#"a b "c\"d" true %"#),
    (
        r#"{{ printf "%d" }} {{ printf "%d %d" 1 }} {{ printf "x" 1 2.5 "s" }} {{ printf "%z" 1 }} {{ printf "%" }} {{ printf "%!" }}"#,
        "%!d(MISSING) 1 %!d(MISSING) x%!(EXTRA int=1, float64=2.5, string=s) %!z(int=1) %!(NOVERB) %!!(MISSING)",
    ),
    (
        r#"{{ printf "%s" 1 }} {{ printf "%s" 1.5 }} {{ printf "%d" "x" }} {{ printf "%f" 1 }} {{ printf "%t" 1 }} {{ printf "%v %v" nil true }}"#,
        "%!s(int=1) %!s(float64=1.5) %!d(string=x) %!f(int=1) %!t(int=1) <nil> true",
    ),
    (
        r#"{{ printf "%e %E %g %G %.3g %.0f %6.2f%%" 123456.789 0.00001 1e100 1e-10 123456.0 2.5 99.5 }}"#,
        "1.234568e+05 1.000000E-05 1e+100 1E-10 1.23e+05 2  99.50%",
    ),
    (
        r#"{{ printf "%v %d %s" $labels $labels $labels }}"#,
        "map[__name__:x instance:host.example.org:9100 job:node] map[%!d(string=__name__):%!d(string=x) %!d(string=instance):%!d(string=host.example.org:9100) %!d(string=job):%!d(string=node)] map[__name__:x instance:host.example.org:9100 job:node]",
    ),
    (
        r#"{{ printf "%5d|%-5d|%05d|% d|%+.1e|%x|%X|%o|%b|%c|%U|%#x" 42 42 42 42 12345.678 "hi" "hi" 8 5 65 9731 255 }}"#,
        "   42|42   |00042| 42|+1.2e+04|6869|6869|10|101|A|U+2603|0xff",
    ),
    (r#"{{ printf "%10.3s|%-10s|%q|%x" "abcdef" "é" "é\n" 3.5 }}"#, r#"       abc|é         |"é\n"|0x1.cp+01"#),
    (r#"{{ printf "%*d|%-*d|%.*f" 5 42 5 42 2 3.14159 }} {{ printf "%[2]d %[1]d" 1 2 }}"#, "   42|42   |3.14 2 1"),
    (
        r#"{{ printf "%6v|%-6v|%06v|%v" 1.5 1.5 1.5 1e6 }} {{ printf "%v %v %v" 1 1.0 1e21 }}"#,
        "   1.5|1.5   |0001.5|1e+06 1 1 1e+21",
    ),
    (r#"{{ printf "%T %T %T %T %T" 1 1.5 "s" true $labels }}"#, "int float64 string bool map[string]string"),
    (r#"{{ print 1 2 "a" "b" 3 nil true }} {{ println "a" 1 2 }}|"#, "1 2ab3 <nil> true a 1 2\n|"),
    (
        r#"{{ 1 }} {{ 1.0 }} {{ 1.5e3 }} {{ 0x1F }} {{ 'a' }} {{ -5 }} {{ +5 }} {{ 1_000 }} {{ true }} {{ "s" }} {{ `raw\n` }}"#,
        r#"1 1 1500 31 97 -5 5 1000 true s raw\n"#,
    ),
    (
        r#"{{ if eq $labels.job "node" }}yes{{ else }}no{{ end }} {{ if ne 1 2 }}ne{{ end }} {{ if gt $value 10.0 }}gt{{ end }} {{ if lt 1 2 }}lt{{ end }} {{ le 1 1 }} {{ ge "b" "a" }}"#,
        "yes ne gt lt true true",
    ),
    (r#"{{ eq "a" "b" "a" }} {{ eq 1 2 3 }} {{ eq nil nil }} {{ eq true false }}"#, "true false true false"),
    ("{{ and true false }} {{ or false true }}", "false true"),
    (r#"{{ if and $labels.job (eq $labels.job "node") }}ok{{ end }}"#, "ok"),
    ("{{ if $labels.missing }}a{{ else if $labels.job }}b{{ else }}c{{ end }}", "b"),
    (
        r#"{{ with $labels.job }}{{ . }}{{ end }} {{ with $labels.nope }}x{{ else }}none{{ end }} {{ with $x := "v" }}{{ $x }}{{ . }}{{ end }}"#,
        "node none vv",
    ),
    (r#"{{ with "" }}x{{ else with "y" }}{{ . }}{{ end }}"#, "y"),
    (
        r#"{{ range $i, $s := query "up" | sortByLabel "instance" }}{{ $i }}:{{ $s.Labels.instance }} {{ end }}"#,
        "0:a:1 1:b:1 2:c:1 ",
    ),
    ("{{ range $k, $v := $labels }}{{ $k }}={{ $v }},{{ end }}", "__name__=x,instance=host.example.org:9100,job=node,"),
    (
        r#"{{ range $labels }}{{ . }},{{ end }} {{ range query "nope" }}x{{ else }}empty{{ end }}"#,
        "x,host.example.org:9100,node, empty",
    ),
    (
        r#"{{ range query "up" }}{{ if eq .Labels.instance "b:1" }}{{ continue }}{{ end }}{{ .Labels.instance }}{{ break }}{{ end }}"#,
        "a:1",
    ),
    ("{{ range 3 }}{{ . }}{{ end }} {{ range $i := 2 }}{{ $i }}{{ end }}", "012 01"),
    (
        r#"{{ query "up" | first | value }} {{ query "up" | sortByLabel "instance" | first | label "instance" }} {{ query "count(up)" | first | value | humanize }}"#,
        "0 a:1 3",
    ),
    (
        r#"{{ (query "up" | sortByLabel "instance" | first).Labels.instance }} {{ (index (query "up" | sortByLabel "instance") 1).Labels.instance }}"#,
        "a:1 b:1",
    ),
    (
        r#"{{ query "up" | sortByLabel "instance" | first }} {{ len (query "up") }} {{ len $labels }} {{ len "abc" }}"#,
        "{map[__name__:up instance:a:1 job:j] 1} 3 3 3",
    ),
    (r#"{{ index $labels "job" }} {{ index $labels "nope" }}| {{ index "abc" 1 }}"#, "node | 98"),
    (r#"{{ slice "abcdef" 1 3 }} {{ slice "abc" 1 }} {{ slice "abc" }}"#, "bc bc abc"),
    (
        r#"{{ strvalue (query "up" | first) }}| {{ args 1 "b" }} {{ (args 1 "b").arg1 }} {{ (args 1).arg9 }}"#,
        "| map[arg0:1 arg1:b] b <no value>",
    ),
    (
        r#"{{ "foo bar-baz qux_x don't a.b c:d 3d éa ABC aBC" | title }} {{ toUpper "é" }} {{ "ABC" | toLower }}"#,
        "Foo Bar-Baz Qux_x Don't A.b C:d 3D Éa ABC ABC É abc",
    ),
    (
        r#"{{ reReplaceAll "(a)(b)?" "<$1-$2>" "abac" }} {{ reReplaceAll "localhost:(.*)" "my.domain:$1" "localhost:9090" }} {{ reReplaceAll "x*" "-" "abxc" }} {{ reReplaceAll "a" "$1x" "bab" }}"#,
        "<a-b><a->c my.domain:9090 -a-b-c- bb",
    ),
    (r#"{{ match "a+" "baab" }} {{ match "^a+$" "baab" }} {{ match "a.b" "a\nb" }}"#, "true false false"),
    (
        r#"{{ graphLink "up{a=\"b\"} > 1" }} {{ tableLink "up + 1" }}"#,
        "/graph?g0.expr=up%7Ba%3D%22b%22%7D+%3E+1&g0.tab=0 /graph?g0.expr=up+%2B+1&g0.tab=1",
    ),
    (
        r#"{{ stripPort "host:9090" }} {{ stripPort "host" }} {{ stripPort "[::1]:80" }} {{ stripPort "::1" }} {{ stripPort "a:b:c" }}"#,
        "host host ::1 ::1 a:b:c",
    ),
    (
        r#"{{ stripDomain "www.example.com:8080" }} {{ stripDomain "a.b" }} {{ stripDomain "1.2.3.4:5" }} {{ stripDomain "[::1]:80" }} {{ stripDomain "host" }} {{ stripDomain "1.2.3.4" }}"#,
        "www:8080 a 1.2.3.4:5 [::1]:80 host 1.2.3.4",
    ),
    (
        r#"{{ html "<a href='x'>&\"</a>" }} {{ js "it's <\"> & = \n \\ é" }} {{ urlquery "a b&c=d/é~+" }} {{ safeHtml "<b>" }}"#,
        r#"&lt;a href=&#39;x&#39;&gt;&amp;&#34;&lt;/a&gt; it\'s \u003C\"\u003E \u0026 \u003D \u000A \\ é a+b%26c%3Dd%2F%C3%A9~%2B <b>"#,
    ),
    (
        r#"{{ define "t" }}[{{ . }}]{{ end }}{{ template "t" "x" }}{{ template "t" $value }}{{ template "t" }}"#,
        "[x][1234.5][<no value>]",
    ),
    (r#"{{ block "b" $labels.job }}<{{ . }}>{{ end }}"#, "<node>"),
    ("{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}{{ if true }}{{ $x = 3 }}{{ $y := 4 }}{{ end }}{{ $x }}", "123"),
    (r#"{{- " a " -}}   b   {{- /* comment */ -}}  c {{/* c */}} d"#, " a bc  d"),
    ("{{ \"a\" -}}   \n  {{- \"b\" }}  ", "ab  "),
    (r#"{{ "quoted \"x\" \u00e9 \x41 \n" }}"#, "quoted \"x\" é A \n"),
    (r#"{{ $value | printf "%.1f" }} {{ "x" | printf "%s-%s" "y" }}"#, "1234.5 y-x"),
    (r#"{{ .Value | humanize | printf "v=%s" }}"#, "v=1.234k"),
    ("{{ $labels.instance | stripPort | toUpper }}", "HOST.EXAMPLE.ORG"),
    ("{{ (1) }} {{ (print 1 (print 2)) }} {{ ((3)) }}", "1 12 3"),
    (
        r#"{{ 1.5 | printf "%T" }} {{ printf "%v" (query "up" | sortByLabel "instance" | first).Labels }}"#,
        "float64 map[__name__:up instance:a:1 job:j]",
    ),
    (r#"{{ $labels.instance }}{{ "\t" }}|"#, "host.example.org:9100\t|"),
    (
        "{{ $ }}",
        "{map[__name__:x instance:host.example.org:9100 job:node] map[site:home] http://ext.example:9090/prom 1234.5}",
    ),
    (
        r#"{{ $.Value }} {{ $.Labels.job }} {{ range query "count(up)" }}{{ $.Value }} {{ $value }} {{ .Value }}{{ end }}"#,
        "1234.5 node 1234.5 1234.5 3",
    ),
    (r#"{{ printf "%.3v|%.2s|%v" 3.14159 "héllo" (toTime 0) }}"#, "3.14|hé|1970-01-01 00:00:00 +0000 UTC"),
    ("{{ if not nil }}x{{ end }}", "x"),
    (
        "{{ html $labels.job 1 nil }} {{ urlquery $value }} {{ print }}| {{ println }}|",
        "node1&lt;no value&gt; 1234.5 | \n|",
    ),
    ("{{ with $labels }}{{ .job }} {{ $.Value }}{{ end }}", "node 1234.5"),
    (r#"{{ printf "%s" (printf "%d%%" 5) }} {{ "}}" }} {{ `}}` }}"#, "5% }} }}"),
    (r#"{{ $labels.job | eq "node" }} {{ "b" | lt "a" }}"#, "true true"),
    (r#"{{ $v := $value | humanize }}{{ $v }}/s {{ $l := $labels.job }}{{ printf "%s%s" $l "x" }}"#, "1.234k/s nodex"),
    ("{{ ($labels).job }} {{ (($labels).job) | toUpper }}", "node NODE"),
    (r#"{{- range $i, $e := (args "x" "y") }}{{ $i }}={{ $e }} {{ end }}"#, "arg0=x arg1=y "),
    (
        "{{ humanizeDuration 90061 }} {{ humanizeDuration 3661.5 }} {{ humanizeDuration 61 }} {{ humanizeDuration 1.23456 }} {{ humanizeDuration 0.0012 }} {{ humanizeDuration 0 }} {{ humanizeDuration -90 }}",
        "1d 1h 1m 1s 1h 1m 1s 1m 1s 1.235s 1.2ms 0s -1m 30s",
    ),
    (r#"{{ range query "up" }}{{ .Labels.instance }}={{ .Value }};{{ end }}"#, "b:1=0;a:1=1;c:1=2.5;"),
    (
        r#"{{ pathPrefix }} {{ externalURL }} {{ parseDuration "1h30m" }} {{ parseDuration "5ms" }}"#,
        "/prom http://ext.example:9090/prom 5400 0.005",
    ),
    (r#"{{ define "t" }}<{{ .arg0 }}>{{ end }}{{ template "t" (args 1) }}"#, "<1>"),
    (
        r#"{{ now }} {{ toDuration 5430.25 }} {{ (toDuration 90).Minutes }} {{ toDuration 0.0015 }} {{ urlQueryEscape "a b" }}"#,
        "1.5 1h30m30.25s 1.5 1.5ms a+b",
    ),
];

/// Templates that fail when executed: line, column, part and reason.
const FAILURES: &[(&str, &str)] = &[
    (
        r#"{{ humanize1024 1048576 }} {{ humanize1024 0.5 }} {{ humanize1024 1000 }} {{ humanize1024 "x" }}"#,
        r#"1:189 <humanize1024 "x">: error calling humanize1024: strconv.ParseFloat: parsing "x": invalid syntax"#,
    ),
    (
        "{{ humanizeTimestamp 1e20 }}",
        "1:115 <humanizeTimestamp 1e20>: error calling humanizeTimestamp: 1e+20 cannot be represented as a nanoseconds timestamp since it overflows int64",
    ),
    (
        "{{ if gt $value 10 }}x{{ end }}",
        "1:118 <gt $value 10>: error calling gt: incompatible types for comparison: float64 and int",
    ),
    ("{{ eq 1 1.0 }}", "1:115 <eq 1 1.0>: error calling eq: incompatible types for comparison: int and float64"),
    (
        "{{ eq $labels $labels }}",
        "1:115 <eq $labels $labels>: error calling eq: non-comparable type map[__name__:x instance:host.example.org:9100 job:node]: map[string]string",
    ),
    ("{{ lt true false }}", "1:115 <lt true false>: error calling lt: invalid type for comparison"),
    ("{{ eq 1 }}", "1:115 <eq 1>: error calling eq: missing argument for comparison"),
    (
        r#"{{ and 1 0 2 }} {{ and 1 2 }} {{ or 0 "" "x" }} {{ or 0 "" }} {{ not 0 }} {{ not "x" }} {{ and }}"#,
        "1:203 <and>: wrong number of args for and: want at least 1 got 0",
    ),
    (r#"{{ range "abc" }}x{{ end }}"#, r#"1:121 <"abc">: range can't iterate over abc"#),
    ("{{ range 1.5 }}x{{ end }}", "1:121 <1.5>: range can't iterate over 1.5"),
    (
        r#"{{ query "nope" | first | value }}"#,
        "1:130 <first>: error calling first: first() called on vector with no elements",
    ),
    (
        r#"{{ query "sum(" | first }}"#,
        r#"1:115 <query "sum(">: error calling query: 1:5: parse error: unclosed left parenthesis"#,
    ),
    ("{{ len 1 }}", "1:115 <len 1>: error calling len: len of type int"),
    ("{{ index $labels 1 }}", "1:115 <index $labels 1>: error calling index: value has type int; should be string"),
    (r#"{{ index (query "up") 10 }}"#, r#"1:115 <index (query "up") 10>: error calling index: index out of range: 10"#),
    (r#"{{ slice "abc" 5 }}"#, r#"1:115 <slice "abc" 5>: error calling slice: index out of range: 5"#),
    (r#"{{ template "nope" }}"#, r#"1:124 <{{template "nope"}}>: template "nope" not defined"#),
    (
        "{{ .Nope }}",
        "1:115 <.Nope>: can't evaluate field Nope in type struct { Labels map[string]string; ExternalLabels map[string]string; ExternalURL string; Value interface {} }",
    ),
    ("{{ .Value.Nope }}", "1:121 <.Value.Nope>: can't evaluate field Nope in type interface {}"),
    ("{{ $labels.a.b }}", "1:122 <$labels.a.b>: can't evaluate field b in type string"),
    ("{{ $value.x }}", "1:121 <$value.x>: can't evaluate field x in type float64"),
    (r#"{{ "a" "b" }}"#, r#"1:115 <"a">: can't give argument to non-function "a""#),
    ("{{ toUpper 1 }}", "1:123 <1>: expected string; found 1"),
    ("{{ toUpper $value }}", "1:123 <$value>: wrong type for value; expected string; got float64"),
    ("{{ toUpper }}", "1:115 <toUpper>: wrong number of args for toUpper: want 1 got 0"),
    (r#"{{ toUpper "a" "b" }}"#, "1:115 <toUpper>: wrong number of args for toUpper: want 1 got 2"),
    ("{{ $value | toUpper }}", "1:124 <toUpper>: wrong type for value; expected string; got float64"),
    (
        "{{ humanize $labels }}",
        "1:115 <humanize $labels>: error calling humanize: can't convert map[string]string to float",
    ),
    ("{{ humanize nil }}", "1:115 <humanize nil>: error calling humanize: can't convert <nil> to float"),
    ("{{ nil }}", "1:115 <nil>: nil is not a command"),
    (r#"{{ first "x" }}"#, r#"1:121 <"x">: can't handle "x" for arg of type template.queryResult"#),
    ("{{ call 1 }}", "1:115 <call 1>: error calling call: non-function 1 of type int"),
    (
        "{{ 9223372036854775807 }} {{ 9223372036854775808 }}",
        "1:141 <9223372036854775808>: 9223372036854775808 overflows int",
    ),
    ("{{ true | not }} {{ not true false }}", "1:132 <not>: wrong number of args for not: want 1 got 2"),
    (r#"{{ template "t" 1 2 }}"#, r#"1:124 <{{template "t" 1 2}}>: template "t" not defined"#),
    (
        r#"{{ if (query "nope") }}x{{ else }}empty{{ end }} {{ if 0.0 }}x{{ else }}zero{{ end }} {{ if nil }}x{{ end }}"#,
        "1:204 <nil>: nil is not a command",
    ),
    (r#"{{ (printf "%s" "x").y }}"#, r#"1:128 <"x">: can't evaluate field y in type string"#),
    ("x {{ $x = 1 }}", "1:122 <1>: undefined variable: $x"),
    ("{{ .Labels.job.x }}", "1:122 <.Labels.job.x>: can't evaluate field x in type string"),
    (
        r#"{{ eq $labels.job "a" "node" }} {{ and (eq 1 1) (ne 1 2) (lt 1.5 2.5) }} {{ gt 1 2.0 }}"#,
        "1:188 <gt 1 2.0>: error calling gt: incompatible types for comparison: int and float64",
    ),
];

/// Texts that are no templates, and why.
const REFUSED: &[(&str, &str)] = &[
    (r#"{{ tmpl "t" 1 }}"#, r#"function "tmpl" not defined"#),
    ("{{ $x, $y := 1 }}", "too many declarations in command"),
    ("{{ nope }}", r#"function "nope" not defined"#),
    ("{{ $nope }}", r#"undefined variable "$nope""#),
    ("{{ if }}x{{ end }}", "missing value for if"),
    ("{{ if true }}x", "unexpected EOF"),
    ("{{ end }}", "unexpected {{end}}"),
    ("{{ else }}", "unexpected {{else}}"),
    (r#"{{ "unterminated }}"#, "unterminated quoted string"),
    ("{{ 1 | 2 }}", "non executable command in pipeline stage 2"),
    ("{{ }}", "missing value for command"),
    ("{{", "unclosed action"),
    ("{{ . | . }}", "non executable command in pipeline stage 2"),
    ("{{ break }}", "{{break}} outside {{range}}"),
    ("{{ 1e400 }}", r#"illegal number syntax: "1e400""#),
    (r#"{{ "x".y }}"#, r#"unexpected . after term "\"x\"""#),
    ("{{ 1.y }}", r#"bad number syntax: "1.y""#),
];
