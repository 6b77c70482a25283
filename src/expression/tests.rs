use super::*;
use crate::fact::{Absent, Reason};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

fn schemas() -> Schemas {
    let gpu = json!({"type": "object", "x-subject": "gpu", "x-key": "pci", "properties": {
        "pci": {"type": "string"}, "index": {"type": "integer"}, "lost": {"type": "boolean"},
        "temperature": {"$ref": "#/$defs/Temperature"},
        "state": {"type": "string", "enum": ["active", "inactive"]},
        "links": {"type": "array", "items": {"type": "object", "properties": {"up": {"type": "boolean"}}}},
    }});
    let names = BTreeMap::from([
        ("gpus".to_string(), json!({"type": "array", "items": gpu})),
        (
            "host".to_string(),
            json!({"type": "object", "properties": {
                "name": {"type": "string"}, "uptime_seconds": {"type": "integer"}, "load": {"type": "number"},
                "sysctl": {"type": "object", "additionalProperties": {"type": "string"}},
                "json": true,
            }}),
        ),
    ]);
    let temperature = json!({"type": "object", "properties": {"margin_c": {"type": "integer"}}});
    let definitions = serde_json::Map::from_iter([("Temperature".to_string(), temperature)]);
    Schemas { names, definitions, ..Schemas::default() }
}

fn scope() -> Scope {
    let gpu = |index: i64, margin: Json| {
        json!({"pci": format!("0000:{index:02x}:00.0"), "index": index, "lost": index == 3,
               "temperature": {"margin_c": margin}, "state": "active", "links": []})
    };
    let absent = Absent::new(Reason::Denied, "needs root").to_json();
    let unsupported = Absent::not_supported("no sensor").to_json();
    let mut scope = Scope::new();
    scope.set_json("gpus", &json!([gpu(0, json!(20)), gpu(1, absent), gpu(2, unsupported), gpu(3, json!(5))]));
    scope.set_json(
        "host",
        &json!({"name": "n1", "uptime_seconds": 4000, "load": 1.5, "sysctl": {"vm.swappiness": "10"},
        "json": {"nodes": [{"state": ["IDLE"]}]}}),
    );
    scope.set_json("gone", &Absent::new(Reason::Timeout, "did not answer in 10 s").to_json());
    scope
}

fn holds(text: &str) -> Result<bool, Absent> {
    Expression::parse(text).unwrap().holds(&scope())
}

fn mistakes(text: &str) -> Vec<String> {
    let schemas = schemas();
    let names = Names::new(&schemas);
    match Expression::parse(text) {
        Err(mistake) => vec![mistake],
        Ok(expression) => expression.check_bool(&names),
    }
    .into_iter()
    .map(|mistake| format!("{}: {}|{}", mistake.offset, mistake.message, mistake.help.unwrap_or_default()))
    .collect()
}

#[test]
fn arithmetic_comparison_and_loops_read_observations() {
    for text in [
        "host.uptime_seconds / 1000 + 1 == 5",
        "gpus.size() == 4 && size(gpus) == 4",
        "(gpus + gpus).size() == 8 && (gpus + [gpus[0]])[4].index == 0 && ([gpus[3]] + gpus)[0].index == 3",
        "gpus.exists(g, g.lost)",
        "gpus.filter(g, !g.lost).map(g, g.index) == [0, 1, 2]",
        "gpus[3].temperature.margin_c < 10",
        "host.load > 1",
        "host.sysctl[\"vm.swappiness\"] == \"10\"",
        "\"IDLE\" in host.json.nodes[0].state",
        "host.json.?nothing.orValue(7) == 7",
        "gpus.map(g, g.pci).join(\", \").startsWith(\"0000:00:00.0, 0000:01\")",
        "[3, 1, 2].sort() == [1, 2, 3]",
        "[3, 1, 2].slice(1, 3) == [1, 2] && [3, 1].slice(0, 3) == [3, 1] && [3].slice(1, 3) == []",
        "gpus.map(g, g.index).reverse().slice(0, 9) == [3, 2, 1, 0]",
        "bytes(1536) == \"1.5 KiB\" && seconds(61) == \"1 min 1 s\" && round(2.6) == 3",
        "duration(\"90s\") > duration(\"1m\")",
    ] {
        assert_eq!(holds(text), Ok(true), "{text}");
        assert_eq!(mistakes(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn an_absent_value_makes_the_expression_absent_with_the_reason_that_counts_most() {
    assert_eq!(holds("gpus[1].temperature.margin_c > 3"), Err(Absent::denied("needs root")));
    assert_eq!(holds("gpus[2].temperature.margin_c > 3"), Err(Absent::not_supported("no sensor")));
    let both = "gpus[2].temperature.margin_c > 3 && gpus[1].temperature.margin_c > 3";
    assert_eq!(holds(both), Err(Absent::denied("needs root")));
    assert_eq!(holds("gone.x == 1").unwrap_err().reason, Reason::Timeout);
    assert_eq!(holds("gpus.filter(g, g.temperature.margin_c > 3).size() == 2"), Err(Absent::denied("needs root")));
    assert_eq!(holds("host.json.nodes[7].state == 1").unwrap_err().reason, Reason::Failed);
    assert_eq!(holds("host.json.nothing == 1"), Err(Absent::failed("the answer has no `nothing`")));
}

#[test]
fn what_is_false_stays_false_whatever_else_is_absent() {
    assert_eq!(holds("gpus.all(g, g.temperature.margin_c > 10)"), Ok(false));
    assert_eq!(holds("gone.x == 1 && host.name == \"n2\""), Ok(false));
    assert_eq!(holds("gone.x == 1 || host.name == \"n1\""), Ok(true));
}

#[test]
fn has_is_false_for_what_is_not_there_and_cannot_tell_what_nobody_could_see() {
    assert_eq!(holds("has(gpus[2].temperature.margin_c)"), Ok(false));
    assert_eq!(holds("has(gpus[0].temperature.margin_c)"), Ok(true));
    assert_eq!(holds("has(gpus[1].temperature.margin_c)"), Err(Absent::denied("needs root")));
    assert_eq!(holds("has(gone.x) || true"), Ok(true));
}

#[test]
fn what_is_not_a_number_is_not_rounded_to_one() {
    assert_eq!(holds("round(0.0 / 0.0) < 90").unwrap_err().reason, Reason::Failed);
}

#[test]
fn a_part_of_a_list_begins_at_a_place_from_nought_on() {
    for text in ["[1, 2].slice(-1, 1) == [1]", "[1, 2].slice(0, -1) == [1]"] {
        assert_eq!(holds(text).unwrap_err().reason, Reason::Failed, "{text}");
    }
    assert_eq!(holds("[1, 2].slice(2, 1) == []"), Ok(true));
}

#[test]
fn what_a_command_printed_is_never_taken_for_an_absence() {
    let mut scope = Scope::new();
    scope.set_json("c", &json!({"json": {"n": {"absent": "not_present"}}, "stdout": {"absent": "denied"}}));
    assert_eq!(Expression::parse("c.json.n.absent == \"not_present\"").unwrap().holds(&scope), Ok(true));
    assert_eq!(Expression::parse("c.stdout == \"\"").unwrap().holds(&scope).unwrap_err().reason, Reason::Denied);
}

#[test]
fn two_nested_loops_over_a_huge_list_end_with_an_error() {
    let mut scope = Scope::new();
    scope.set_json("many", &json!(vec![1; 4000]));
    let expression = Expression::parse("many.exists(a, many.exists(b, a + b == 9))").unwrap();
    assert_eq!(expression.holds(&scope).unwrap_err().reason, Reason::Failed);
    let own = "\"".to_string() + &"x".repeat(300) + "\"";
    for text in [
        format!("{own}.split(\"\").exists(a, {own}.split(\"\").exists(b, {own}.split(\"\").exists(c, a + b == c)))"),
        "many.map(a, many.map(b, a + b)).size() == 1".into(),
        "many.map(a, many.exists(b, b.nothing)).size() == 1".into(),
        "many.map(a, many + many).size() == 1".into(),
    ] {
        let began = std::time::Instant::now();
        assert_eq!(Expression::parse(&text).unwrap().holds(&scope).unwrap_err().reason, Reason::Failed, "{text}");
        assert!(began.elapsed().as_secs() < 20, "{text}: {:?}", began.elapsed());
    }
    assert_eq!(Expression::parse("many.size() == 4000").unwrap().holds(&scope), Ok(true));
}

#[test]
fn mistakes_are_placed_and_say_what_to_write() {
    for (text, expected) in [
        ("gpus.exists(g, g.temprature.margin_c > 1)", "17: `g` has no field `temprature`|did you mean `temperature`?"),
        ("hots.name == \"x\"", "0: nothing is called `hots`|did you mean `host`?"),
        (
            "gpus.all(g, g.lost)",
            "8: `gpus` may be empty, and then `all` holds|write `gpus.size() > 0 && …`, or \
            `gpus.size() == 0 || …` where none is fine",
        ),
        ("gpus.size() > 0 and true", "16: `and` is not expected here|write `&&`"),
        ("host.name = \"x\"", "10: `=` is not expected here|write `==` to compare"),
        (
            "host.uptime_seconds + host.load > 1.0",
            "20: a whole number and one with a fraction do not mix|write \
            `double(host.uptime_seconds)`",
        ),
        ("host.name == 3", "10: `host.name` is a text and `3` is a whole number: they never compare|"),
        ("gpus.exists(g, g.state == \"actve\")", "26: `g.state` is never \"actve\"|did you mean \"active\"?"),
        (
            "gpus.exists(g, g.?temperature.orValue(1) == 1)",
            "16: `.?` is for what a command printed; the fields of a \
            probe are known|write `g.temperature`, or `has(g.temperature)` to ask whether it is there",
        ),
        ("gpus.first().lost", "10: no function is called `first`|"),
        ("host.name.matches(\"(\")", "18: not a regular expression: unclosed group|"),
        ("gpus", "0: this is a list, not true or false|ask for its `.size()`, or use `.exists(x, …)`"),
        ("", "0: an expression is missing here|"),
        ("has(gpus[0].los)", "12: `gpus[0]` has no field `los`|did you mean `lost`?"),
        ("host.name.contains(", "19: the expression ends too early|"),
        (
            "gpus.exists(host, host.lost)",
            "11: the loop variable `host` hides another of that name|give it another name",
        ),
    ] {
        let found = mistakes(text);
        assert!(found.iter().any(|one| one.starts_with(expected)), "{text}\n  expected {expected}\n  found {found:?}");
    }
}

#[test]
fn a_false_expression_says_which_part_and_with_which_values() {
    let why = |text: &str| -> Vec<String> {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(expression.holds(&scope()), Ok(false), "{text}");
        expression.why_false(&scope()).into_iter().map(|reading| reading.sentence).collect()
    };
    assert_eq!(why("host.load < 1 && host.name == \"n1\""), ["host.load is 1.5, expected less than 1"]);
    assert_eq!(why("!gpus.exists(g, g.lost)"), ["for gpus[3]: g.lost is true"]);
    assert_eq!(why("gpus.size() == 8"), ["gpus.size() is 4, expected 8"]);
    assert_eq!(
        why("gpus.all(g, g.index < 2)"),
        ["for gpus[2]: g.index is 2, expected less than 2", "for gpus[3]: g.index is 3, expected less than 2"]
    );
    assert_eq!(why("gpus.all(g, g.index > 10)").last().unwrap(), "and 1 more of 4 in gpus");
    assert_eq!(why("gpus.exists(g, g.index == 42)"), ["none of the 4 in gpus fits `g.index == 42`"]);
    assert_eq!(why("!(host.name in [\"n1\", \"n2\"])"), ["host.name is \"n1\", expected none of [\"n1\", \"n2\"]"]);
    assert_eq!(
        why("host.name.startsWith(\"gpu\")"),
        ["`host.name.startsWith(\"gpu\")` does not hold: host.name is \"n1\""]
    );
}

#[test]
fn texts_hold_expressions_and_name_what_is_absent() {
    let text =
        Text::parse("{{literal}} {gpus[0].index} and {gone.x}; {gpus.map(g, {'a': g.index})[0].a} {'}'}").unwrap();
    assert_eq!(text.render(&scope()), "{literal} 0 and [timeout]; 0 }");
    assert!(text.argument(&scope()).is_err());
    assert_eq!(Text::parse("é {host.").unwrap_err().offset, 2);
    assert_eq!(Text::parse("é {host.} x").unwrap_err().offset, 8);
    assert_eq!(Text::parse("a } b").unwrap_err().offset, 2);
}

#[test]
fn an_expression_is_written_back_as_an_author_would() {
    for text in [
        "a.b[0] + (c - 1) * 2 > 3 && !(d || e)",
        "x.filter(g, g.y in [1, 2]).map(g, g.z).size() == 0 ? has(a.b) : \"text\".contains(c)",
        "x.all(g, g.up) || x.exists_one(g, !g.up)",
    ] {
        let expression = Expression::parse(text).unwrap();
        assert_eq!(tree::write(expression.tree()), text);
    }
}

#[test]
fn hostile_expressions_are_refused_or_answered_but_never_panic() {
    for text in [
        "(".repeat(1000),
        "a?b:".repeat(500),
        "!".repeat(2000),
        "-".repeat(2000) + "1",
        "[".repeat(900) + &"]".repeat(900),
        "\"".into(),
        "\u{0}".into(),
        "a.".repeat(1000) + "b",
        "é".repeat(300),
        "1/0 == 1".into(),
        "x".repeat(5000),
        "9223372036854775807 + 1 > 0".into(),
        "true && ".repeat(75) + "true",
        "true && ".repeat(200) + "true",
        "host.json".to_string() + &".a".repeat(75),
        "1 + ".repeat(75) + "1 > 0",
    ] {
        // The stack that main gives its work; a test's own thread has an eighth of it.
        let work = std::thread::Builder::new().stack_size(crate::STACK_BYTES).spawn(move || {
            if let Ok(expression) = Expression::parse(&text) {
                let schemas = schemas();
                let _ = expression.check_bool(&Names::new(&schemas));
                let _ = expression.holds(&scope());
                let _ = expression.why_false(&scope());
            }
        });
        work.unwrap().join().unwrap();
    }
}

#[test]
fn texts_that_would_take_all_memory_are_refused() {
    let scope = Scope::new();
    let value = |text: &str| Expression::parse(text).unwrap().value(&scope).map(|value| value.to_json());
    let ten = "\"0123456789\"";
    let power = |times: usize| {
        format!("\"0\"{}", format!(".replace(\"0\", {ten} + {ten}.replace(\"1\", \"0\"))").repeat(times))
    };
    assert!(value(&power(3)).is_ok());
    let said = value(&power(20)).unwrap_err().detail;
    assert!(said.contains("more than 16 MiB"), "{said}");
    let doubled = format!("\"x\"{}", ".replace(\"x\", \"xxxxxxxxxxxxxxxx\")".repeat(5));
    let many = format!("[{}].map(i, {doubled})", vec!["1"; 300].join(","));
    assert!(value(&format!("{many}.join(\"\")")).is_err());
    assert!(value(&many).is_err(), "what a loop makes is kept and counts");
    assert_eq!(value("\"aXbX\".replace(\"X\", \"-\", 1) + [\"p\", \"q\"].join(\"+\")"), Ok("a-bXp+q".into()));
    assert_eq!(value("\"abc\".replace(\"\", \"_\")"), Ok("_a_b_c_".into()));
    assert_eq!(value("[\"ab\", \"b\"].filter(t, t.matches(\"^a\"))"), Ok(serde_json::json!(["ab"])));
}

#[test]
fn loops_stand_three_deep_at_most_and_one_after_the_other_as_many_as_you_like() {
    let inside = "gpus.exists(a, gpus.exists(b, gpus.exists(c, a.index + b.index == c.index)))";
    assert!(Expression::parse(inside).is_ok());
    let deeper = format!("gpus.exists(d, {inside})");
    assert!(mistakes(&deeper)[0].contains("more than 3 deep"), "{:?}", mistakes(&deeper));
    // What a loop goes over is made once.
    let after =
        "gpus.filter(a, a.lost).map(a, a.index).filter(a, a > 0).filter(a, a > 1).map(a, a + 1).distinct().size() == 0";
    assert!(Expression::parse(after).is_ok());
    // Inside of another loop it is made anew each time.
    let within =
        format!("gpus.exists(a, gpus.filter(b, {}).exists(c, c.lost))", "gpus.exists(d, gpus.exists(e, e.lost))");
    assert!(mistakes(&within)[0].contains("more than 3 deep"), "{:?}", mistakes(&within));
}
