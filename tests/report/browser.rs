//! A headless Chromium at the other end of two pipes: it is told what to do and says what it saw. In go pages
//! and expressions, out come values, screenshots and every complaint on the console.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy.
const LIMIT: Duration = Duration::from_mins(1);
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

pub struct Browser {
    child: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    next_id: u64,
    session: Option<String>,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser with one empty page.
    pub fn start() -> Self {
        let name = NAMES.into_iter().find(|name| {
            Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
        });
        let name = name.expect("no Chromium on PATH: install it (Debian's package is `chromium`)");
        let profile = tempfile::tempdir().unwrap();
        // The browser reads commands from 3 and answers on 4; a shell moves our ends there.
        let script = format!(
            "exec {name} --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
             --hide-scrollbars --disable-background-networking --user-data-dir='{}' --remote-debugging-pipe \
             about:blank 3<&0 4>&1 1>&2 0</dev/null",
            profile.path().display()
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut message = Vec::new();
            while reader.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let sent = serde_json::from_slice(&message).map(|value| sender.send(value));
                if !matches!(sent, Ok(Ok(()))) {
                    break;
                }
                message.clear();
            }
        });
        let (next_id, session, complaints) = (1, None, Vec::new());
        let mut browser =
            Self { child, input, output: receiver, next_id, session, complaints, _profile: profile };
        browser.attach();
        browser
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({"url": "about:blank"}))["targetId"].take();
        let attached = self.call("Target.attachToTarget", &json!({"targetId": target, "flatten": true}));
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
        // As the window that is worked in; others may run beside it.
        self.call("Emulation.setFocusEmulationEnabled", &json!({"enabled": true}));
    }

    /// Calls a method of the browser's protocol.
    pub fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.input.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let mut answer = self.next(method);
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.listen(&answer);
        }
    }

    fn next(&mut self, what: &str) -> Value {
        self.output.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("the browser gives no answer to {what}"))
    }

    fn listen(&mut self, event: &Value) {
        let parameters = &event["params"];
        let is_complaint = match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Page.javascriptDialogOpening" => true,
            "Runtime.consoleAPICalled" => {
                ["error", "warning", "assert"].iter().any(|sort| parameters["type"] == *sort)
            }
            "Log.entryAdded" => {
                ["error", "warning"].iter().any(|level| parameters["entry"]["level"] == *level)
            }
            _ => false,
        };
        if is_complaint {
            self.complaints.push(parameters.to_string());
        }
    }

    /// Everything that the console has complained of so far.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Loads a file and waits until it is there.
    pub fn open(&mut self, page: &Path) {
        let url = format!("file://{}", page.display());
        self.call("Page.navigate", &json!({"url": url}));
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'");
    }

    /// The value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", &parameters);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].take()
    }

    /// The value of an expression that is a number.
    pub fn number(&mut self, expression: &str) -> f64 {
        let value = self.value(expression);
        value.as_f64().unwrap_or_else(|| panic!("{expression} is {value}"))
    }

    /// The value of an expression that is a text.
    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression} is {value}")).to_owned()
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) {
        let deadline = Instant::now() + LIMIT;
        while self.value(expression) != true {
            assert!(Instant::now() < deadline, "waited {LIMIT:?} for {expression}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sets the window's size and the preferred colours.
    pub fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let media = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Moves the pressed mouse from one place to another, in pixels of the window.
    pub fn drag(&mut self, from: (f64, f64), to: (f64, f64)) {
        let middle = (f64::midpoint(from.0, to.0), f64::midpoint(from.1, to.1));
        let steps = [("mouseMoved", from, 0), ("mousePressed", from, 1), ("mouseMoved", middle, 1)];
        for (sort, at, buttons) in steps.into_iter().chain([("mouseMoved", to, 1), ("mouseReleased", to, 0)])
        {
            let button = if sort == "mouseMoved" && buttons == 0 { "none" } else { "left" };
            let event = json!({"type": sort, "x": at.0, "y": at.1, "button": button, "buttons": buttons, "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Clicks into the middle of an element, once it is in sight.
    pub fn click(&mut self, selector: &str) {
        let (x, y) = self.middle(selector);
        self.drag((x, y), (x, y));
    }

    /// The middle of an element, scrolled into sight; what the page does about the scrolling is done.
    pub fn middle(&mut self, selector: &str) -> (f64, f64) {
        self.value(&format!("document.querySelector({selector:?}).scrollIntoView({{block: 'center'}})"));
        self.value(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))",
        );
        let mut edge = |side: &str| {
            self.number(&format!("document.querySelector({selector:?}).getBoundingClientRect().{side}"))
        };
        (edge("x") + edge("width") / 2.0, edge("y") + edge("height") / 2.0)
    }

    /// Writes what the window shows, or with `whole` the page, into a file.
    pub fn screenshot(&mut self, file: &Path, whole: bool) {
        let mut parameters = json!({"format": "png", "captureBeyondViewport": whole});
        if whole {
            let (width, height) =
                (self.number("innerWidth"), self.number("document.documentElement.scrollHeight"));
            parameters["clip"] =
                json!({"x": 0, "y": 0, "width": width, "height": height.min(9_000.0), "scale": 1});
        }
        let image = self.call("Page.captureScreenshot", &parameters);
        std::fs::write(file, BASE64_STANDARD.decode(image["data"].as_str().unwrap()).unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
