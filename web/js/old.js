// Shows a notice in browsers that cannot run the page's modules. A plain script in old JavaScript, so that those browsers
// can run it.
(function () {
  function tell() {
    var spanish = document.documentElement.lang === 'es';
    var notice = document.getElementById('old-browser');
    notice.textContent = spanish
      ? 'Esta página no ha podido empezar. Cárguela de nuevo. Si no sirve, este navegador es demasiado antiguo para videollamadas: abra su enlace en una versión actual de Chrome, Edge, Firefox o Safari, o en otro dispositivo.'
      : 'This page could not start. Load it again. If that does not help, this browser is too old for video calls: open your link in a current version of Chrome, Edge, Firefox or Safari, or on another device.';
    notice.removeAttribute('hidden');
    document.getElementById('boot').setAttribute('hidden', '');
  }
  window.addEventListener('load', function () {
    if (!document.documentElement.getAttribute('data-started')) tell();
  });
  // The modules run, but miss something before the first screen.
  window.addEventListener('unhandledrejection', function () {
    if (document.body.getAttribute('data-screen') === 'boot') tell();
  });
})();
