// Listeners of the document, ahead of all others. It outlives this component, and they do not.

const listening = new AbortController();

function onDocument(name, listener) {
  document.addEventListener(name, (event) => {
    if (element.isConnected) listener(event);
    else listening.abort();
  }, { signal: listening.signal, capture: true });
}
