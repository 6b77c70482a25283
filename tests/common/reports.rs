//! Reports to render: one in which everything occurs, one that says hostile things everywhere, a large one.

#![allow(dead_code, reason = "each test uses a part of it")]

use crate::common::{machine, punchlist_on};
use serde_json::{Value as Json, json};

/// The report on a recorded machine.
pub fn report_on(name: &str) -> Json {
    let output = punchlist_on(&machine(name), "run").args(["--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A report with a cause that explains outcomes, one waived, some unknown.
pub fn with_everything() -> Json {
    let mut report = report_on("gpu-lost");
    // A new first item moves the others.
    for outcome in report["outcomes"].as_array_mut().unwrap() {
        for place in outcome.get_mut("explained_by").and_then(Json::as_array_mut).into_iter().flatten() {
            *place = (place.as_u64().unwrap() + 1).into();
        }
    }
    let outcomes = report["outcomes"].as_array_mut().unwrap();
    let single: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, one)| one["status"] == "pass" && one["subjects"].is_null())
        .map(|(n, _)| n)
        .collect();
    for number in &single[3..9] {
        let outcome = &mut outcomes[*number];
        outcome["subject"] = json!({ "kind": "node" });
        outcome["status"] = "critical".into();
        outcome["message"] = format!("Found in place of {}", outcome["title"].as_str().unwrap()).into();
        outcome["explained_by"] = json!([0]);
    }
    for number in &single[9..12] {
        outcomes[*number]["status"] = "unknown".into();
        outcomes[*number]["title"] = "Something that only root may see".into();
        outcomes[*number]["reason"] = json!({ "absent": "denied", "detail": "/dev/kmsg: needs root" });
        outcomes[*number]["message"] = Json::Null;
    }
    let waived = &mut outcomes[single[12]];
    waived["status"] = "warning".into();
    waived["message"] = "The BIOS is older than the others".into();
    waived["waived"] = json!({ "reason": "the vendor has no newer one for this board", "until": "2027-01-31" });
    let explains: Vec<usize> = single[3..9].to_vec();
    let item = json!({
        "severity": "critical", "title": "GPU 5 has fallen off the PCIe bus", "certainty": "certain",
        "subject": { "kind": "gpu", "key": "0000:ab:00.0" }, "where": "gpu 0000:ab:00.0",
        "seen": ["Xid 79 sixteen minutes ago", "the driver reports the GPU as lost"], "explains": explains,
        "cause": "gpu.off-bus", "why": "Every job on this GPU has died, and none can start.",
        "next": ["Drain the node.", "Save the evidence before anything resets it: nvidia-bug-report.sh",
                 "Power the node off and on; a warm reboot is not enough.", "If it happens again, replace the GPU."],
        "who": "vendor", "refs": ["https://docs.nvidia.com/deploy/xid-errors/"],
    });
    report["items"].as_array_mut().unwrap().insert(0, item);
    let unknown = report["summary"]["by_status"]["unknown"].as_u64().unwrap_or_default() + 3;
    report["summary"]["by_status"]["unknown"] = unknown.into();
    report["summary"]["denied"] = 3.into();
    report["run"]["as_root"] = false.into();
    report["run"]["parameters"] = json!({ "gpu_count": 8, "storage_wanted_mounts": ["/home", "/scratch"] });
    report
}

/// What a sick or hostile machine may say.
pub const HOSTILE: &str = "<script>window.owned = 1</script>\"'><img src=x onerror=\"window.owned = 2\">\u{1b}[31m\u{202e}txt.exe\u{2066} \
     {{ x }} </style></details></main> javascript:window.owned=3 שלום &amp; ]]> `x` |";

/// Puts hostile text into every text and name that is no word of the format.
pub fn poison(value: &mut Json, key: &str, long: &mut usize) {
    match value {
        Json::String(text) => {
            let word =
                ["format", "status", "severity", "certainty", "who", "absent", "level", "started"].contains(&key);
            if !word {
                *text = format!("{text} {HOSTILE}");
                *long += 1;
                if *long == 40 || *long == 400 {
                    *text = format!("{text}{}", "<b>0123456789".repeat(80_000));
                }
                if key == "refs" {
                    *text = "javascript:window.owned=4".into();
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| poison(item, key, long)),
        Json::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                poison(field, key, long);
            }
            if ["values", "values_of_each", "parameters", "gpus"].contains(&key) {
                let renamed = std::mem::take(fields).into_iter();
                *fields = renamed.map(|(name, field)| (format!("{name}{HOSTILE}"), field)).collect();
            }
        }
        _ => {}
    }
}

/// A report with as many outcomes, each of which has a message of its own.
pub fn large(count: usize) -> Json {
    let mut report = report_on("epyc-node");
    let outcomes: Vec<Json> = (0..count)
        .map(|number| {
            let status = ["pass", "critical", "pass", "warning", "skipped"][number % 5];
            json!({
                "check": format!("topic{}.check{}", number % 12, number % 200), "checklist": format!("topic{}", number % 12),
                "subject": { "kind": "mount", "key": format!("/data/{number}") }, "status": status,
                "title": format!("File system {number} has room"), "message": format!("/data/{number} is {} % full", number % 100),
                "values": { "mount.space.used_percent": number % 100 },
            })
        })
        .collect();
    let items: Vec<Json> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, one)| one["status"] == "critical" || one["status"] == "warning")
        .map(|(number, one)| {
            json!({
                "severity": one["status"], "title": one["message"], "subject": one["subject"],
                "where": format!("mount /data/{number}"), "seen": [], "explains": [number], "check": one["check"], "next": ["Make room."],
            })
        })
        .collect();
    report["outcomes"] = outcomes.into();
    report["items"] = items.into();
    report["subjects"] = json!([]);
    report["summary"]["outcomes"] = count.into();
    report
}
