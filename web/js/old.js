// For browsers that know no modules: they are told so, in words that they understand.
(function () {
  var spanish = /^es/i.test(navigator.language || '');
  var notice = document.getElementById('old-browser');
  notice.textContent = spanish
    ? 'Este navegador es demasiado antiguo para videollamadas. Abra su enlace en una versión actual de Chrome, Edge, Firefox o Safari, o en otro dispositivo.'
    : 'This browser is too old for video calls. Please open your link in a current version of Chrome, Edge, Firefox or Safari, or on another device.';
  notice.removeAttribute('hidden');
  document.getElementById('boot').setAttribute('hidden', '');
})();
