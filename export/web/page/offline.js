// Registers the service worker: see sw.js.

const RELOADED = "st-reloaded";

/** Resolves when the page is served by it, or soon where that cannot be. */
export async function serveOffline() {
  if (!navigator.serviceWorker) return; // http, or a private window
  const ready = navigator.serviceWorker.register("sw.js").then(controlled);
  ready.catch((error) => console.info("No service worker:", error.message));
  await Promise.race([ready.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 3000))]);
  if (self.crossOriginIsolated) {
    sessionStorage.removeItem(RELOADED);
    return;
  }
  if (!navigator.serviceWorker.controller || sessionStorage.getItem(RELOADED)) return;
  sessionStorage.setItem(RELOADED, "1"); // once: a browser may refuse to isolate the page
  location.replace(location.href); // reload() does nothing after a forced reload
  await new Promise(() => {});
}

function controlled() {
  return new Promise((resolve) => {
    if (navigator.serviceWorker.controller) resolve();
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
}
