// Runs before anything is drawn: sets the theme that was chosen, and says so when the page cannot start or has
// stopped. A file of its own, because the content security policy allows no inline scripts.
(function () {
  "use strict";
  try {
    var theme = localStorage.getItem("freshet.theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch (e) { /* storage is refused: the system's theme stays */ }

  var started = false;

  function cannotStart(why) {
    var boot = document.getElementById("boot");
    if (started || !boot || boot.classList.contains("failed")) return;
    boot.classList.add("failed");
    document.getElementById("boot-what").textContent = "The page could not start";
    document.getElementById("boot-why").textContent = why;
  }

  // After a panic nothing moves any more; figures that stand still must not be taken for live ones.
  function hasStopped() {
    if (document.querySelector(".stopped")) return;
    var box = document.createElement("div");
    box.className = "stopped";
    box.setAttribute("role", "alert");
    box.textContent = "This page's program has stopped after an error of its own: nothing below is live. Reload to go on; the browser's console has the details.";
    document.body.prepend(box);
  }

  function failed(error, message) {
    if (!started) cannotStart(message || "An error at its start; the browser's console has the details.");
    else if (typeof WebAssembly === "object" && error instanceof WebAssembly.RuntimeError) hasStopped();
  }

  addEventListener("TrunkApplicationStarted", function () { started = true; });
  addEventListener("unhandledrejection", function (e) { failed(e.reason, String((e.reason && e.reason.message) || e.reason)); });
  addEventListener("error", function (e) {
    var part = e.target && (e.target.src || e.target.href);
    if (part) cannotStart("This part of it did not load: " + part + ". Is the server running? Reload to try again.");
    else failed(e.error, e.message);
  }, true);
  addEventListener("DOMContentLoaded", function () {
    if (typeof WebAssembly !== "object") cannotStart("Its program is WebAssembly, which this browser lacks or has switched off.");
  });
  setTimeout(function () { cannotStart("Its program has not arrived after 30 seconds. Reload to try again."); }, 30000);
})();
