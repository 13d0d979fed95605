/* A page that was opened from a file may not start a worker: run the script of the search in a
   hidden frame instead. The theme looks for the name IFrameWorker. */
"use strict";
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.onmessage = null;
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    this.frame.title = "search";
    const begin = `
      deliver = postMessage.bind(window);
      postMessage = (data) => parent.postMessage(data, "*");
      importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((ready, failed) => {
        const script = document.createElement("script");
        script.src = url; script.onload = ready; script.onerror = failed;
        document.body.append(script);
      })), Promise.resolve());`;
    this.ready = new Promise((ready) => this.frame.addEventListener("load", ready, { once: true }));
    this.frame.srcdoc = `<body><script>${begin}</script><script src="${url}"></script></body>`;
    document.body.append(this.frame);
    window.addEventListener("message", (event) => {
      if (event.source !== this.frame.contentWindow) return;
      const answer = new MessageEvent("message", { data: event.data });
      this.dispatchEvent(answer);
      if (this.onmessage) this.onmessage(answer);
    });
  }

  postMessage(data) {
    this.ready.then(() => this.frame.contentWindow.deliver(data, "*"));
  }

  terminate() {
    this.frame.remove();
  }
}
if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
