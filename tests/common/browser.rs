//! Chromium without a window, driven through its DevTools protocol over a pipe: enough of it to open a page, look at it
//! and press keys.

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running browser. It ends with its owner.
pub struct Browser {
    child: Child,
    commands: Option<File>,
    answers: BufReader<File>,
    number: u64,
    /// What was heard besides answers.
    pub events: Vec<Json>,
    _profile: tempfile::TempDir,
}

/// One page in it.
pub struct Page<'b> {
    browser: &'b mut Browser,
    session: String,
}

/// Where Chromium is, under the names that distributions give it.
pub fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}

impl Browser {
    pub fn start(program: &Path) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // DevTools reads commands from descriptor 3 and writes answers to descriptor 4. Both ends are made above them.
        let above = |end: OwnedFd| fcntl_dupfd_cloexec(&end, 10).unwrap();
        let (their_commands, commands) = rustix::pipe::pipe().unwrap();
        let (answers, their_answers) = rustix::pipe::pipe().unwrap();
        let (their_commands, their_answers) = (above(their_commands), above(their_answers));
        let (commands, answers) = (above(commands), above(answers));
        let ends = [(their_commands.as_raw_fd(), 3), (their_answers.as_raw_fd(), 4)];
        let mut command = Command::new(program);
        command
            .args(["--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-extensions"])
            .args(["--disable-dev-shm-usage", "--disable-background-networking", "--hide-scrollbars"])
            // Chromium's own sandbox refuses root, and containers refuse it.
            .arg("--no-sandbox")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        // SAFETY: dup2 and fcntl are async-signal-safe, and the descriptors stay open until the child has begun.
        unsafe {
            command.pre_exec(move || {
                for (from, to) in ends {
                    if libc::dup2(from, to) < 0 {
                        return Err(std::io::Error::last_os_error());
                    }
                    let _ = fcntl_setfd(std::os::fd::BorrowedFd::borrow_raw(to), FdFlags::empty());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let file = |end: OwnedFd| {
            let raw = end.as_raw_fd();
            std::mem::forget(end);
            // SAFETY: nobody else owns it any more.
            unsafe { File::from_raw_fd(raw) }
        };
        Browser {
            child,
            commands: Some(file(commands)),
            answers: BufReader::new(file(answers)),
            number: 0,
            events: Vec::new(),
            _profile: profile,
        }
    }

    fn hear(&mut self) -> Json {
        let mut message = Vec::new();
        self.answers.read_until(0, &mut message).unwrap();
        assert_eq!(message.pop(), Some(0), "the browser has ended");
        serde_json::from_slice(&message).unwrap()
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: Json) -> Json {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let commands = self.commands.as_mut().unwrap();
        commands.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut heard = self.hear();
            if heard["id"] == self.number {
                assert!(heard["error"].is_null(), "{method}: {heard}");
                return heard["result"].take();
            }
            self.events.push(heard);
        }
    }

    /// Opens a file and waits until it is there, styles and all.
    pub fn open(&mut self, file: &Path, width: u32, dark: bool) -> Page<'_> {
        let target = self.call(None, "Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = self.call(None, "Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        let session = attached["sessionId"].as_str().unwrap().to_string();
        let mut page = Page { browser: self, session };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        let metrics = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500 });
        page.call("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = json!([{ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } }]);
        page.call("Emulation.setEmulatedMedia", json!({ "features": scheme }));
        page.browser.events.clear();
        page.call("Page.navigate", json!({ "url": format!("file://{}", file.display()) }));
        while !page.browser.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let heard = page.browser.hear();
            page.browser.events.push(heard);
        }
        page
    }
}

impl Page<'_> {
    pub fn call(&mut self, method: &str, params: Json) -> Json {
        self.browser.call(Some(&self.session), method, params)
    }

    /// What an expression is in the page; a promise is awaited.
    pub fn eval(&mut self, expression: &str) -> Json {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// What went wrong in the page so far, and what it asked for besides itself.
    pub fn complaints(&mut self) -> Vec<Json> {
        // One more turn, so that what was said until now is heard.
        self.eval("new Promise((done) => setTimeout(done, 50))");
        let bad = |event: &&Json| match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown"
            | "Runtime.consoleAPICalled"
            | "Log.entryAdded"
            | "Page.javascriptDialogOpening" => true,
            "Network.requestWillBeSent" => {
                let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                event["params"]["type"] != "Document" && !url.starts_with("data:,")
            }
            _ => false,
        };
        self.browser.events.iter().filter(bad).cloned().collect()
    }

    /// The page as it prints: a PDF in base64.
    pub fn pdf(&mut self) -> String {
        let printed = self.call("Page.printToPDF", json!({ "printBackground": true, "preferCSSPageSize": false }));
        printed["data"].as_str().unwrap().to_string()
    }

    /// The page as it looks, from the top on as far as a picture goes: a PNG in base64.
    pub fn screenshot(&mut self) -> String {
        let size = self.eval("[innerWidth, Math.min(document.documentElement.scrollHeight, 12000)]");
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1 });
        let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true, "clip": clip }));
        shot["data"].as_str().unwrap().to_string()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends when nobody can command it any more.
        self.commands = None;
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::KILL,
        );
        let _ = self.child.wait();
    }
}
