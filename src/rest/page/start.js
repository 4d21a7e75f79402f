// Shows the description of the API. What is typed in as the secret stays in this page's memory.
SwaggerUIBundle({
  url: 'openapi.json',
  dom_id: '#api',
  // Else the page asks a validator on the internet about the description.
  validatorUrl: null,
  persistAuthorization: false,
});
