// Registers the service worker: see sw.js.

const RELOADED = "st-reloaded";

/** Resolves when the service worker controls the page, or soon if it cannot. */
export async function serveOffline() {
  if (!navigator.serviceWorker) return; // not available over plain http or in a private window
  const ready = navigator.serviceWorker.register("sw.js").then(controlled);
  ready.catch((error) => console.info("No service worker:", error.message));
  await Promise.race([ready.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 3000))]);
  if (self.crossOriginIsolated) {
    sessionStorage.removeItem(RELOADED);
    return;
  }
  if (!navigator.serviceWorker.controller || sessionStorage.getItem(RELOADED)) return;
  sessionStorage.setItem(RELOADED, "1"); // only once: the browser may not isolate the page
  location.replace(location.href); // after a forced reload, reload() has no effect
  await new Promise(() => {});
}

function controlled() {
  return new Promise((resolve) => {
    if (navigator.serviceWorker.controller) resolve();
    navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
  });
}
