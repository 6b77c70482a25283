//! The HTML page in a real browser: it opens without complaints and asks for nothing, filter and search work, it prints,
//! and nothing that a sick or hostile machine says is executed. Left out where there is no Chromium; tests/run says so.

#[path = "common/browser.rs"]
mod browser;
mod common;
#[path = "common/reports.rs"]
mod reports;

use browser::{Browser, Page, chromium};
use reports::{large, poison, with_everything};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Renders a report and gives the page's path.
fn page_of(report: &Json, folder: &Path, name: &str) -> PathBuf {
    let (json, html) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.html")));
    fs::write(&json, report.to_string()).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_punchlist")).arg("report").arg(&json).arg("-o").arg(&html).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    html
}

fn nothing_is_wrong_with(page: &mut Page) {
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn the_page_works_in_a_real_browser() {
    let Some(program) = chromium() else {
        println!("left out: no Chromium here");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut browser = Browser::start(&program);

    let everything = page_of(&with_everything(), folder, "everything");
    let page = &mut browser.open(&everything, 1280, false);
    nothing_is_wrong_with(page);
    works(page);
    let pdf = page.pdf();
    assert!(pdf.starts_with("JVBERi0"), "a PDF begins with %PDF-");
    nothing_is_wrong_with(page);
    for (width, dark) in [(390, false), (390, true), (1280, true)] {
        let page = &mut browser.open(&everything, width, dark);
        nothing_is_wrong_with(page);
        assert_eq!(
            page.eval("document.documentElement.scrollWidth <= innerWidth"),
            true,
            "it scrolls sideways at {width}"
        );
        let faint = page.eval(CONTRAST);
        assert_eq!(faint, json!([]), "too little contrast, dark: {dark}");
    }

    let mut hostile = with_everything();
    poison(&mut hostile, "", &mut 0);
    let hostile = page_of(&hostile, folder, "hostile");
    assert!(fs::metadata(&hostile).unwrap().len() < 8 << 20);
    for width in [390, 1280] {
        let page = &mut browser.open(&hostile, width, false);
        nothing_is_wrong_with(page);
        // Pressing everything that can be pressed wakes nothing up.
        page.eval("document.querySelectorAll('details').forEach((one) => { one.open = true; })");
        page.eval("document.querySelectorAll('input[type=checkbox]').forEach((one) => { one.click(); one.click(); })");
        nothing_is_wrong_with(page);
        assert_eq!(page.eval("typeof window.owned"), "undefined");
        assert_eq!(
            page.eval("document.querySelectorAll('img, b:not(label b), iframe, object, style:not(head style)').length"),
            0
        );
        assert_eq!(page.eval("document.scripts.length"), 1);
        assert_eq!(page.eval("[...document.links].every((one) => /^(https?:|file:)/.test(one.href))"), true);
        assert_eq!(
            page.eval("document.querySelectorAll('main').length === 1 && !!document.querySelector('main #run')"),
            true
        );
        assert_eq!(page.eval("document.body.innerText.includes('<script>window.owned = 1</script>')"), true);
        assert_eq!(page.eval("/[\\u202a-\\u202e\\u2066-\\u2069\\u001b]/.test(document.body.textContent)"), false);
        assert_eq!(
            page.eval("document.documentElement.scrollWidth <= innerWidth"),
            true,
            "it scrolls sideways at {width}"
        );
    }

    let many = page_of(&large(5000), folder, "many");
    let size = fs::metadata(&many).unwrap().len();
    assert!(size < 4 << 20, "5,000 outcomes take {size} bytes");
    let page = &mut browser.open(&many, 1280, false);
    nothing_is_wrong_with(page);
    page.eval("{ const find = document.getElementById('find'); find.value = '/data/4321'; find.dispatchEvent(new Event('input')); }");
    page.eval(SETTLED);
    assert_eq!(page.eval("document.getElementById('shown').textContent"), "1 of 5000 outcomes shown");
    // Many items begin with an overview, which leads to each of them.
    assert_eq!(page.eval("document.querySelectorAll('.glance li').length"), 20);
    let leads = "[...document.querySelectorAll('.glance a')].every((one) => document.querySelector(one.hash + ' h3').textContent === one.textContent)";
    assert_eq!(page.eval(leads), true);

    if let Some(folder) = std::env::var_os("PUNCHLIST_SCREENSHOTS") {
        let folder = PathBuf::from(folder);
        for (name, file, width, dark) in [
            ("phone", &everything, 390, false),
            ("desktop", &everything, 1280, false),
            ("dark", &everything, 1280, true),
            ("phone-dark", &everything, 390, true),
            ("hostile", &hostile, 1280, false),
            ("many", &many, 1280, false),
        ] {
            let shot = browser.open(file, width, dark).screenshot();
            fs::write(folder.join(format!("{name}.png.base64")), shot).unwrap();
        }
        fs::write(folder.join("print.pdf.base64"), pdf).unwrap();
    }
}

/// Longer than the page waits after a key was pressed.
const SETTLED: &str = "new Promise((done) => setTimeout(done, 200))";

/// What of the text that is shown has less contrast to what is behind it than WCAG 2.1 AA wants: 4.5, or 3 where it is
/// large.
const CONTRAST: &str = r#"(() => {
    document.querySelectorAll("details").forEach((one) => { one.open = true; });
    const channels = (color) => color.match(/[\d.]+/g).map(Number);
    const luminance = ([r, g, b]) => {
        const linear = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const color = channels(getComputedStyle(at).backgroundColor);
            if (color.length === 3 || color[3] > 0) return color;
        }
        return [255, 255, 255];
    };
    const faint = new Set();
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
        if (!own || ["SCRIPT", "STYLE"].includes(element.tagName)) continue;
        const style = getComputedStyle(element);
        const [one, two] = [luminance(channels(style.color)), luminance(behind(element))];
        const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.7 && style.fontWeight >= 700);
        if (ratio < (large ? 3 : 4.5)) faint.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
    }
    return [...faint];
})()"#;

fn works(page: &mut Page) {
    // A reader by ear finds its way: one main, one first heading, no level left out, every table and control named.
    assert_eq!(page.eval("document.querySelectorAll('h1').length"), 1);
    let levels = page.eval("[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))");
    let levels: Vec<i64> = levels.as_array().unwrap().iter().filter_map(Json::as_i64).collect();
    assert!(levels.windows(2).all(|two| two[1] <= two[0] + 1), "{levels:?}");
    assert_eq!(page.eval("document.querySelectorAll('th:not([scope])').length"), 0);
    assert_eq!(page.eval("[...document.querySelectorAll('input')].every((one) => one.labels.length === 1)"), true);
    assert_eq!(page.eval("[...document.querySelectorAll('main > section')].every((one) => document.getElementById(one.getAttribute('aria-labelledby')))"), true);
    assert_eq!(page.eval("document.documentElement.lang"), "en");
    assert_eq!(page.eval("[...document.querySelectorAll('[id]')].length === new Set([...document.querySelectorAll('[id]')].map((one) => one.id)).size"), true);
    let broken = page.eval("[...document.querySelectorAll('a[href^=\"#\"]')].filter((one) => !document.getElementById(one.hash.slice(1))).map((one) => one.hash)");
    assert_eq!(broken, json!([]));

    let visible = "[...document.querySelectorAll('.topic tbody tr')].filter((one) => !one.hidden && !one.closest('.topic').hidden)";
    let shown = "document.getElementById('shown').textContent";
    let all = page.eval(&format!("{visible}.length")).as_u64().unwrap();
    assert!(all > 100);
    assert_eq!(page.eval("document.getElementById('filter').hidden"), false);
    assert_eq!(page.eval("document.getElementById('shown').getAttribute('aria-live')"), "polite");
    page.eval("['pass', 'skipped', 'info'].forEach((one) => document.querySelector(`input[value=${one}]`)?.click())");
    let statuses = page.eval(&format!("[...new Set({visible}.map((one) => one.dataset.s))].sort()"));
    assert_eq!(statuses, json!(["critical", "unknown", "warning"]));
    assert!(page.eval(shown).as_str().unwrap().contains(" outcomes shown"));
    page.eval("['pass', 'skipped', 'info'].forEach((one) => document.querySelector(`input[value=${one}]`)?.click())");
    assert_eq!(page.eval(&format!("{visible}.length")), all);
    assert_eq!(page.eval(shown), "");

    // Typed as a person types.
    page.eval("document.getElementById('find').focus()");
    page.call("Input.insertText", json!({ "text": "GPU lost" }));
    page.eval(SETTLED);
    let found = page.eval(&format!("{visible}.map((one) => one.textContent.toLowerCase())"));
    let found = found.as_array().unwrap();
    assert!(!found.is_empty() && (found.len() as u64) < all);
    assert!(found.iter().all(|text| text.as_str().unwrap().contains("gpu") && text.as_str().unwrap().contains("lost")));
    // What is well is folded where something was found, and found by the search all the same.
    let folded = "[...document.querySelectorAll('details.quiet')]";
    assert_eq!(page.eval(&format!("{folded}.length > 0 && {folded}.every((one) => one.open)")), true);
    assert_eq!(page.eval(&format!("{visible}.every((one) => one.closest('.topic').open)")), true);
    page.eval("{ const find = document.getElementById('find'); find.value = 'no such thing'; find.dispatchEvent(new Event('input')); }");
    page.eval(SETTLED);
    assert_eq!(page.eval("document.getElementById('nothing').hidden"), false);
    page.eval(
        "{ const find = document.getElementById('find'); find.value = ''; find.dispatchEvent(new Event('input')); }",
    );
    page.eval(SETTLED);
    assert_eq!(page.eval(&format!("{visible}.length")), all);
    assert_eq!(page.eval(&format!("{folded}.some((one) => one.open)")), false);
}
