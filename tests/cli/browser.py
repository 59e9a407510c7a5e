"""Pages in headless Chromium, driven by its DevTools protocol over a pipe: what they show, and what went wrong in them."""
import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
import tempfile

from tap import Skip

TIMEOUT = 250


class Connection:
    """One browser for all pages of a test program."""
    def __init__(self, chromium):
        self.number, self.buffer = 0, b""
        self.home = tempfile.TemporaryDirectory(prefix="steward-chromium-")
        down, up = os.pipe(), os.pipe()
        # The pipes' ends are to be 3 and 4 in the browser; a shell puts them there.
        script = f"exec 3<&{down[0]} 4>&{up[1]}; exec \"$@\""
        self.process = subprocess.Popen(
            ["sh", "-c", script, "sh", "timeout", str(TIMEOUT), chromium, "--headless", "--no-sandbox", "--disable-gpu",
             "--remote-debugging-pipe", f"--user-data-dir={self.home.name}", "about:blank"],
            pass_fds=(down[0], up[1]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(down[0])
        os.close(up[1])
        self.commands, self.answers = down[1], up[0]
        atexit.register(self.close)

    def close(self):
        os.close(self.commands)
        os.close(self.answers)
        self.process.terminate()
        self.process.wait(20)
        self.home.cleanup()

    def send(self, method, params, session=None):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if session:
            request["sessionId"] = session
        os.write(self.commands, json.dumps(request).encode() + b"\0")
        return self.number

    def message(self):
        while b"\0" not in self.buffer:
            more = os.read(self.answers, 1 << 20)
            assert more, "the browser has ended"
            self.buffer += more
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)


@functools.cache
def connection():
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise Skip("chromium is not installed")
    return Connection(chromium)


class Page:
    def __init__(self):
        self.browser, self.session, self.trouble = connection(), None, []

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
        if message.get("sessionId") != self.session:
            return None
        if method == "Runtime.exceptionThrown":
            self.trouble.append(params["exceptionDetails"].get("exception", {}).get("description", params))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.trouble.append(params["args"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.trouble.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            self.trouble.append(params["request"]["url"])
        return method

    def call(self, method, **params):
        number = self.browser.send(method, params, self.session)
        while True:
            message = self.browser.message()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.note(message)

    def open(self, path, width, height):
        self.target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url="file://" + path)
        while self.note(self.browser.message()) != "Page.loadEventFired":
            pass

    def close(self):
        self.session = None
        self.call("Target.closeTarget", targetId=self.target)

    def run(self, script):
        """The value of a JavaScript expression."""
        r = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in r, r
        return r["result"].get("value")

    def press(self, key, number):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number)


@contextlib.contextmanager
def browser(path, width=1000, height=900):
    page = Page()
    page.open(os.path.abspath(path), width, height)
    try:
        yield page
        assert not page.trouble, page.trouble
    finally:
        page.close()
