"""A page in headless Chromium, driven by its DevTools protocol over a pipe: what it shows, and what went wrong in it."""
import contextlib
import json
import os
import shutil
import subprocess
import tempfile

from tap import Skip

TIMEOUT = 60


class Page:
    def __init__(self, commands, answers):
        self.commands, self.answers = commands, answers
        self.number, self.session, self.trouble, self.buffer = 0, None, [], b""

    def message(self):
        while b"\0" not in self.buffer:
            more = os.read(self.answers, 1 << 20)
            assert more, "the browser has ended"
            self.buffer += more
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def note(self, message):
        method, params = message.get("method"), message.get("params", {})
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
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.commands, json.dumps(request).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.note(message)

    def wait_for(self, method):
        while self.note(self.message()) != method:
            pass

    def open(self, path, width, height):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url="file://" + path)
        self.wait_for("Page.loadEventFired")

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
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise Skip("chromium is not installed")
    down, up = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="steward-chromium-") as home:
        # The pipe's ends are to be 3 and 4 in the browser; a shell puts them there.
        script = f"exec 3<&{down[0]} 4>&{up[1]}; exec \"$@\""
        p = subprocess.Popen(["sh", "-c", script, "sh", "timeout", str(TIMEOUT), chromium, "--headless", "--no-sandbox", "--disable-gpu",
                              "--remote-debugging-pipe", f"--user-data-dir={home}", "about:blank"],
                             pass_fds=(down[0], up[1]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(down[0])
        os.close(up[1])
        try:
            page = Page(down[1], up[0])
            page.open(os.path.abspath(path), width, height)
            yield page
            if page.trouble:
                raise AssertionError(page.trouble)
        finally:
            os.close(down[1])
            os.close(up[0])
            p.terminate()
            p.wait(20)
