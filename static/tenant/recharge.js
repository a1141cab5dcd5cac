// A recharge's page: pays by WeChat's bridge, and asks how far the recharge has come until the light is on.
(function () {
  "use strict";
  var progress = document.getElementById("progress");
  var bridge = document.getElementById("bridge");
  var began = Date.now();

  function each(ids, work) {
    ids.forEach(function (id) {
      var found = document.getElementById(id);
      if (found) work(found);
    });
  }

  function ask() {
    fetch(progress.dataset.url, { cache: "no-cache", credentials: "same-origin" })
      .then(function (answer) { return answer.ok ? answer.text() : null; })
      .then(show, function () { again(3000); });
  }

  function show(html) {
    if (html !== null && html !== progress.innerHTML) progress.innerHTML = html;
    var stages = document.getElementById("stages");
    if (stages && stages.dataset.unpaid === "no") {
      each(["bridge", "pay", "call-off"], function (found) { found.remove(); });
    }
    if (!stages || stages.dataset.over !== "yes") again(Date.now() - began < 120000 ? 1000 : 5000);
  }

  function again(after) {
    setTimeout(ask, after);
  }

  function pay() {
    bridge.disabled = true;
    window.WeixinJSBridge.invoke("getBrandWCPayRequest", JSON.parse(bridge.dataset.pay), function () {
      bridge.disabled = false; // what became of it, WeChat tells our server; the stages tell the payer
    });
  }

  if (bridge) {
    bridge.addEventListener("click", function () {
      if (window.WeixinJSBridge) pay();
      else document.addEventListener("WeixinJSBridgeReady", pay, { once: true });
    });
  }
  if (progress) again(1000);
})();
