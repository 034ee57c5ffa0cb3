// On a phone the menu covers the page: it closes after a choice, and its button has a name. Tables that may be wider than
// the page can be scrolled by keyboard.
(() => {
  const button = () => document.querySelector('[data-testid="stExpandSidebarButton"]');
  const named = () => button()?.setAttribute("aria-label", "Menu");
  if (window.mergescopeMenu) return;
  window.mergescopeMenu = true;
  document.addEventListener("click", (event) => {
    if (!event.target.closest('[data-testid="stSidebarNavLink"]') || window.innerWidth > 768) return;
    document.querySelector('[data-testid="stSidebarCollapseButton"] button')?.click();
  });
  const reachable = () =>
    document.querySelectorAll(".stMarkdown table:not([tabindex])").forEach((table) => table.setAttribute("tabindex", "0"));
  const mend = () => { named(); reachable(); };
  new MutationObserver(mend).observe(document.body, { childList: true, subtree: true });
  mend();
})();
